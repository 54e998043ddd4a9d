// Writes the TorchScript models of the wire tests into a folder: `wire_make_models FOLDER`.

#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/pickle.h>

#include "tests/wire/clock_resolver.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// A module whose forward has this body; `x` is the batch.
torch::jit::Module MakeModule(const std::string& body, const std::string& result = "Tensor",
                              const std::string& more_inputs = {}) {
  torch::jit::Module module("Model");
  module.define("def forward(self, x: Tensor" + more_inputs + ") -> " + result + ":\n" + body,
                std::make_shared<ClockResolver>());
  module.eval();
  return module;
}

/// 64 → 256 → 256 → 4 with ReLU; the same weights every time.
torch::jit::Module MakeMlp() {
  at::manual_seed(7);
  torch::jit::Module module("Mlp");
  const std::vector<std::int64_t> sizes = {64, 256, 256, 4};
  for (std::size_t layer = 0; layer + 1 < sizes.size(); ++layer) {
    const std::string number = std::to_string(layer + 1);
    module.register_parameter("w" + number, at::randn({sizes[layer], sizes[layer + 1]}) * 0.1, false);
    module.register_parameter("b" + number, at::randn({sizes[layer + 1]}) * 0.1, false);
  }
  module.define(
      "def forward(self, x: Tensor) -> Tensor:\n"
      "  h = torch.relu(torch.addmm(self.b1, x, self.w1))\n"
      "  h = torch.relu(torch.addmm(self.b2, h, self.w2))\n"
      "  return torch.addmm(self.b3, h, self.w3)\n");
  module.eval();
  return module;
}

/// As torchvision's scripted detectors: a list of pictures to (losses, a dictionary for each picture). Here
/// one box, as large as the picture.
torch::jit::Module MakeDetector() {
  torch::jit::Module module("Detector");
  module.define(
      "def forward(self, pictures: List[Tensor]) -> Tuple[Dict[str, Tensor], List[Dict[str, Tensor]]]:\n"
      "  losses: Dict[str, Tensor] = {}\n"
      "  found: List[Dict[str, Tensor]] = []\n"
      "  for picture in pictures:\n"
      "    box = torch.tensor([[0.0, 0.0, float(picture.size(2)), float(picture.size(1))]])\n"
      "    found.append({\"boxes\": box, \"labels\": torch.tensor([1]), \"scores\": torch.tensor([0.75])})\n"
      "  return (losses, found)\n",
      std::make_shared<ClockResolver>());
  module.eval();
  return module;
}

void WriteFile(const fs::path& file, const std::vector<char>& bytes) {
  std::ofstream stream(file, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void WriteModels(const fs::path& folder) {
  const auto save = [&](const std::string& name, const torch::jit::Module& module) {
    module.save((folder / name).string());
  };
  save("double.pt", MakeModule("  return x * 2\n"));
  save("triple.pt", MakeModule("  return x * 3\n"));
  save("mlp.pt", MakeMlp());
  save("rows.pt", MakeModule("  return torch.ones([3, 2])\n"));
  save("text.pt", MakeModule("  return \"hello\"\n", "str"));
  save("tuple.pt", MakeModule("  return (x, x * 2)\n", "Tuple[Tensor, Tensor]"));
  save("dict.pt", MakeModule("  return {\"single\": x, \"double\": x * 2}\n", "Dict[str, Tensor]"));
  // Six scores of a picture: how red, green, blue it is, and how little.
  save("colors.pt", MakeModule("  m = x.mean([2, 3])\n  return torch.cat([m, -m], 1)\n"));
  save("planes.pt", MakeModule("  return {\"out\": x}\n", "Dict[str, Tensor]"));
  save("detector.pt", MakeDetector());
  // A token's id and its square, for each token.
  save("states.pt",
       MakeModule("  f = x.to(6)\n  return torch.stack([f, f * f], 2)\n", "Tensor", ", mask: Tensor"));
  // Generates: the token behind each is the next number, of 16. A text that begins with 9 is refused once it
  // has a 13; one that begins with 8 takes 5 ms a step.
  save("counting.pt",
       MakeModule("  assert not bool(((x[:, 0] == 9) & (x == 13).any(1)).any()), \"13 is bad luck\"\n"
                  "  if bool((x[:, 0] == 8).any()):\n"
                  "    end = prim.TimePoint() + 5000000\n"
                  "    while prim.TimePoint() < end:\n"
                  "      pass\n"
                  "  return (((x + 1) % 16).unsqueeze(2) == torch.arange(16)).to(6)\n",
                  "Tensor", ", mask: Tensor"));
  // Keeps the sum of what it was given: the sum so far goes in and comes out beside the answer.
  save("sum.pt",
       MakeModule("  total = sum + x\n  return (total, total)\n", "Tuple[Tensor, Tensor]", ", sum: Tensor"));
  save("nan.pt", MakeModule("  return (x - x) / (x - x)\n"));
  // As a table of one row, which has no other index than 0.
  save("zeros.pt", MakeModule("  assert bool((x == 0).all()), \"index out of range\"\n  return x + 1\n"));
  // Busy for as many milliseconds as the largest value of the batch says; nothing can interrupt it.
  const std::string busy =
      "  end = prim.TimePoint() + int(x.max()) * 1000000\n"
      "  while prim.TimePoint() < end:\n"
      "    pass\n";
  save("slow.pt", MakeModule(busy + "  return x\n"));
  // One bad row spoils the whole batch that it is part of; good rows make it busy as above.
  save("throws.pt",
       MakeModule("  assert bool((x.sum(1) <= 1000).all()), \"the sum of a row is above 1000\"\n" + busy +
                  "  return x * 2\n"));

  // What torch.save(model.state_dict(), …) leaves: a zip with a pickle, and no code.
  c10::Dict<std::string, at::Tensor> state;
  state.insert("weight", at::ones({2, 2}));
  WriteFile(folder / "state_dict.pt", torch::jit::pickle_save(state));
}

}  // namespace
}  // namespace serve

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: wire_make_models FOLDER\n");
    return 2;
  }
  try {
    std::filesystem::create_directories(argv[1]);
    serve::WriteModels(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
