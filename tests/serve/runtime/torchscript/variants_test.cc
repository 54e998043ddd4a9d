// Every way of running a module gives the plain module's numbers, for the shapes that it was compiled for and
// others.
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>

#include "serve/runtime/torchscript/torchscript_runtime.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::Not;

class VariantsTest : public ::testing::Test {
 protected:
  VariantsTest() {
    std::string pattern = (fs::temp_directory_path() / "variants-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    at::manual_seed(3);
    torch::jit::Module module("Pictures");
    module.register_parameter("kernel", at::randn({8, 3, 3, 3}) * 0.2, false);
    module.register_parameter("weight", at::randn({8, 5}) * 0.3, false);
    module.define(
        "def forward(self, x: Tensor) -> Tensor:\n"
        "  h = torch.relu(torch.conv2d(x, self.kernel, None, [1, 1], [1, 1]))\n"
        "  return torch.matmul(torch.mean(h, [2, 3]), self.weight)\n");
    module.eval();
    module.save((folder_ / "model.pt").string());
    plain_ = std::move(*TorchScriptFactory().Load(folder_ / "model.pt", {}));
  }
  ~VariantsTest() override { fs::remove_all(folder_); }

  static std::vector<Tensor> Input(std::int64_t rows) {
    Tensor tensor = Tensor::Empty(DType::kFloat32, {rows, 3, 16, 16});
    for (std::int64_t i = 0; i < tensor.elements(); ++i)
      tensor.as<float>()[i] = std::sin(0.1F * static_cast<float>(i));
    return {tensor};
  }

  void ExpectTheSame(Runtime& variant, const std::string& name, std::int64_t rows) const {
    const std::vector<Tensor> input = Input(rows);
    const Result<RunOutputs> expected = plain_->Run(input);
    const Result<RunOutputs> got = variant.Run(input);
    ASSERT_TRUE(expected.has_value());
    ASSERT_TRUE(got.has_value()) << name << ": " << got.error().message;
    ASSERT_EQ(got->tensors[0].shape, expected->tensors[0].shape) << name;
    ASSERT_EQ(got->tensors[0].dtype, DType::kFloat32) << name;
    const double tolerance = variant.LowerPrecision() ? 0.05 : 1e-4;
    for (std::int64_t i = 0; i < expected->tensors[0].elements(); ++i) {
      EXPECT_NEAR(got->tensors[0].as<float>()[i], expected->tensors[0].as<float>()[i], tolerance)
          << name << ", " << rows << " rows, element " << i;
    }
  }

  fs::path folder_;
  std::unique_ptr<Runtime> plain_;
};

TEST_F(VariantsTest, EachGivesTheSameNumbersForKnownAndUnknownShapes) {
  const std::vector<std::string> names = plain_->Variants(Precision::kAuto);
  EXPECT_THAT(names, Contains("onednn_graph"));
  for (const std::string& name : names) {
    Result<std::shared_ptr<Runtime>> variant = plain_->MakeVariant(name);
    ASSERT_TRUE(variant.has_value()) << name << ": " << variant.error().message;
    const Status ready = (*variant)->Specialize(Input(1));
    if (!ready.ok() && (*variant)->LowerPrecision()) {  // not every CPU has bfloat16: then it says so
      EXPECT_FALSE(ready.message.empty()) << name;
      continue;
    }
    ASSERT_TRUE(ready.ok()) << name << ": " << ready.message;
    ASSERT_TRUE((*variant)->Specialize(Input(4)).ok()) << name;
    for (const std::int64_t rows : {1, 4, 3}) ExpectTheSame(**variant, name, rows);
  }
  ExpectTheSame(*plain_, "plain, after its weights were laid out anew in copies", 2);
}

TEST_F(VariantsTest, LowerPrecisionIsOfferedOnlyWhereItIsAllowed) {
  EXPECT_THAT(plain_->Variants(Precision::kFloat32), Not(Contains("bf16_weights")));
  EXPECT_THAT(plain_->Variants(Precision::kBFloat16), Contains("bf16_weights"));
  EXPECT_THAT(plain_->Variants(Precision::kBFloat16), Not(Contains("frozen")));
}

TEST_F(VariantsTest, VariantsOfDifferentKindsRunSideBySide) {
  const std::shared_ptr<Runtime> fused = *plain_->MakeVariant("onednn_graph");
  const std::shared_ptr<Runtime> autocast = *plain_->MakeVariant("bf16_autocast");
  ASSERT_TRUE(fused->Specialize(Input(2)).ok());
  std::vector<std::jthread> threads;
  for (const std::shared_ptr<Runtime>& variant : {fused, autocast, fused, autocast}) {
    threads.emplace_back([this, variant] {
      for (int i = 0; i < 20; ++i) ExpectTheSame(*variant, "side by side", 1 + i % 3);
    });
  }
}

TEST_F(VariantsTest, AVariantThatDoesNotExistIsAnError) {
  EXPECT_FALSE(plain_->MakeVariant("quantum").has_value());
}

}  // namespace
}  // namespace serve
