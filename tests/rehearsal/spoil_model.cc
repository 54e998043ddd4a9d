// Makes a TorchScript model bad in one way: `spoil_model IN OUT shape|slow|answers`. The rehearsal deploys
// such models.

#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "tests/wire/clock_resolver.h"

namespace serve {
namespace {

// What becomes of `y`, the answer of the good model, [rows, classes].
const std::map<std::string, std::string> kFaults = {
    {"shape", "  return y[:, 1:]\n"},               // a class is missing
    {"answers", "  return torch.roll(y, 1, 1)\n"},  // each class has the score of another one
    {"slow",                                        // 200 ms a call
     "  begin = prim.TimePoint()\n"
     "  while prim.TimePoint() - begin < 200000000:\n"
     "    y = y + 0\n"
     "  return y\n"},
};

/// The good model inside another one, whose forward spoils its answer.
torch::jit::Module Spoil(const std::string& good, const std::string& fault) {
  torch::jit::Module inner = torch::jit::load(good);
  std::string declared, passed;
  for (std::size_t i = 1; i < inner.get_method("forward").function().getSchema().arguments().size(); ++i) {
    declared += ", x" + std::to_string(i) + ": Tensor";
    passed += (i > 1 ? ", x" : "x") + std::to_string(i);
  }
  torch::jit::Module module("Spoiled");
  module.register_module("inner", inner);
  module.define("def forward(self" + declared + ") -> Tensor:\n  y = self.inner.forward(" + passed + ")\n" +
                    kFaults.at(fault),
                std::make_shared<ClockResolver>());
  module.eval();
  return module;
}

}  // namespace
}  // namespace serve

int main(int count, char** words) {
  if (count != 4 || !serve::kFaults.contains(words[3])) {
    std::fputs("usage: spoil_model IN OUT shape|slow|answers\n", stderr);
    return 2;
  }
  try {
    serve::Spoil(words[1], words[3]).save(words[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spoil_model: %s\n", error.what());
    return 1;
  }
  return 0;
}
