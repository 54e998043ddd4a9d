// A module whose weights lie in its file answers as one that was copied, and never writes to the file.
#include "serve/runtime/torchscript/map_weights.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/types.h>

#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

/// The file that the address is mapped from; empty: none.
std::string MappedFrom(const void* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    char* end = nullptr;
    const std::uint64_t first = std::strtoull(line.c_str(), &end, 16);
    const std::uint64_t last = std::strtoull(end + 1, nullptr, 16);
    const auto wanted = reinterpret_cast<std::uint64_t>(address);
    if (wanted < first || wanted >= last) continue;
    const std::size_t path = line.find('/');
    return path == std::string::npos ? "" : line.substr(path);
  }
  return "";
}

class MapWeightsTest : public ::testing::Test {
 protected:
  MapWeightsTest() {
    torch::jit::Module module("Counts");
    module.register_parameter("weight", torch::rand({256, 256}), false);
    module.register_parameter("bias", torch::rand({256}), false);
    module.register_buffer("sum", torch::zeros({256, 256}));
    module.define(
        "def forward(self, x: Tensor) -> Tensor:\n"
        "  self.sum.add_(1)\n"
        "  return torch.addmm(self.bias, x, self.weight) + self.sum[0]\n");
    module.save(file_.string());
  }

  TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_ / "model.pt";
};

TEST_F(MapWeightsTest, LargeWeightsStayInTheFileAndAnswerTheSame) {
  torch::jit::Module mapped = LoadMapped(file_);
  EXPECT_EQ(MappedFrom(mapped.attr("weight").toTensor().data_ptr()), file_.string());
  EXPECT_EQ(MappedFrom(mapped.attr("bias").toTensor().data_ptr()), "") << "too small to be worth it";
  torch::jit::Module copied = torch::jit::load(file_.string());
  const at::Tensor x = torch::rand({3, 256});
  EXPECT_TRUE(mapped.forward({x}).toTensor().equal(copied.forward({x}).toTensor()));
}

TEST_F(MapWeightsTest, WhatAModuleWritesIsItsOwn) {
  const std::string before = ReadAll(file_);
  torch::jit::Module first = LoadMapped(file_);
  torch::jit::Module second = LoadMapped(file_);
  first.forward({torch::rand({1, 256})});
  EXPECT_EQ(first.attr("sum").toTensor().max().item<float>(), 1);
  EXPECT_EQ(second.attr("sum").toTensor().max().item<float>(), 0);
  EXPECT_EQ(ReadAll(file_), before);
}

TEST_F(MapWeightsTest, TheFileMayBeRemovedAndTensorsOutliveTheirModule) {
  const at::Tensor expected = torch::jit::load(file_.string()).attr("weight").toTensor();
  at::Tensor weight;
  {
    const torch::jit::Module module = LoadMapped(file_);
    std::filesystem::remove(file_);
    weight = module.attr("weight").toTensor();
  }
  EXPECT_TRUE(weight.equal(expected));
}

TEST_F(MapWeightsTest, AModuleThatRunsCodeWhileItIsLoadedIsCopied) {
  torch::jit::Module module("Unpacks");
  module.register_attribute("weight", c10::TensorType::get(), torch::rand({256, 256}));
  module.define(
      "def forward(self, x: Tensor) -> Tensor:\n"
      "  return torch.mm(x, self.weight)\n"
      "def __getstate__(self) -> Tensor:\n"
      "  return self.weight\n"
      "def __setstate__(self, state: Tensor):\n"
      "  self.weight = state * 2\n");
  module.save(file_.string());
  torch::jit::Module mapped = LoadMapped(file_);
  EXPECT_EQ(MappedFrom(mapped.attr("weight").toTensor().data_ptr()), "");
  EXPECT_TRUE(mapped.attr("weight").toTensor().equal(module.attr("weight").toTensor() * 2));
}

TEST_F(MapWeightsTest, WhatIsNoArchiveIsRefused) {
  EXPECT_ANY_THROW(LoadMapped(folder_.Write("bad.pt", "no archive")));
  EXPECT_ANY_THROW(LoadMapped(folder_ / "missing.pt"));
  EXPECT_ANY_THROW(LoadMapped(folder_.Write("empty.pt", "")));
}

}  // namespace
}  // namespace serve
