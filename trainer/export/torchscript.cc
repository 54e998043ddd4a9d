#include "trainer/export/torchscript.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <vector>

#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

namespace serve::trainer {
namespace {

// Only torch.* operators resolve in a module that is made in C++.
constexpr const char* kForward = R"(
def forward(self, ids: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    logits = torch.embedding_bag(self.weight, ids, offsets, False, 0, False, weights)[0] + self.bias
    return torch.softmax(logits, 1)
)";

at::Tensor Copy(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat).clone();
}

at::Tensor View(const std::vector<std::int64_t>& values) {
  return at::from_blob(const_cast<std::int64_t*>(values.data()), {static_cast<std::int64_t>(values.size())},
                       at::kLong);
}

}  // namespace

Status ExportTorchScript(const LinearTextModel& model, const std::filesystem::path& file) try {
  const auto terms = static_cast<std::int64_t>(model.terms());
  const auto classes = static_cast<std::int64_t>(model.classes);
  torch::jit::Module module("LinearTextModel");
  module.register_parameter("weight", Copy(model.weight, {terms, classes}), /*is_buffer=*/false);
  module.register_parameter("bias", Copy(model.bias, {classes}), /*is_buffer=*/false);
  module.define(kForward);
  module.eval();
  module.save(file.string());
  return {};
} catch (const c10::Error& error) {
  return Internal(
      fmt::format("cannot export the model to {}: {}", file.string(), error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("cannot export the model to {}: {}", file.string(), error.what()));
}

Result<double> CompareExported(const std::filesystem::path& file, const LinearTextModel& model,
                               const TextBags& bags) try {
  std::vector<double> expected = Logits(model, bags);
  Softmax(expected, model.classes);
  const c10::InferenceMode guard;
  torch::jit::Module module = torch::jit::load(file.string(), c10::kCPU);
  module.eval();
  const at::Tensor weights = Copy(bags.weights, {static_cast<std::int64_t>(bags.weights.size())});
  const at::Tensor answer =
      module.forward({View(bags.ids), View(bags.offsets), weights}).toTensor().contiguous();
  if (answer.scalar_type() != at::kFloat || answer.dim() != 2 ||
      answer.numel() != static_cast<std::int64_t>(expected.size())) {
    return Internal(fmt::format("the exported {} answers with another shape than the model", file.string()));
  }
  const auto* values = answer.const_data_ptr<float>();
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(values[i] - expected[i]);
    if (!(difference <= largest)) largest = difference;  // lets NaN through
  }
  return largest;
} catch (const c10::Error& error) {
  return Internal(
      fmt::format("the exported {} does not run: {}", file.string(), error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("the exported {} does not run: {}", file.string(), error.what()));
}

std::string TorchVersion() { return TORCH_VERSION; }

}  // namespace serve::trainer
