// A packed graph holds oneDNN's operators where that is allowed, and gives the numbers of the module as it
// was.
#include "serve/runtime/torchscript/pack_weights.h"

#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>

#include "serve/runtime/torchscript/cpu_kernels.h"

namespace serve {
namespace {

using torch::jit::Module;

class PackWeightsTest : public ::testing::Test {
 protected:
  PackWeightsTest() : module_("Module") { at::manual_seed(5); }

  void Weight(const std::string& name, at::IntArrayRef shape) {
    module_.register_parameter(name, at::randn(shape) * 0.1, false);
  }

  /// Defines forward, packs a frozen copy, and counts its operators by name.
  std::map<std::string, int> Pack(const std::string& body, bool winograd = false) {
    module_.define("def forward(self, x: Tensor) -> Tensor:\n" + body);
    module_.eval();
    packed_ = torch::jit::freeze(module_);
    const auto graph = packed_.get_method("forward").graph();
    PackWeights(graph, winograd);
    std::map<std::string, int> kinds;
    for (const torch::jit::Node* node : graph->nodes()) ++kinds[node->kind().toQualString()];
    return kinds;
  }

  void ExpectTheSame(const at::Tensor& input, double tolerance = 1e-4) {
    const c10::InferenceMode guard;
    for (Module* module : {&module_, &packed_}) {
      torch::jit::toGraphFunction(module->get_method("forward").function())
          ._set_initial_executor_execution_mode(torch::jit::ExecutorExecutionMode::SIMPLE);
    }
    const at::Tensor expected = module_.forward({input.clone()}).toTensor();
    for (int i = 0; i < 2; ++i) {
      const at::Tensor got = packed_.forward({input.clone()}).toTensor();
      ASSERT_EQ(got.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(got, expected, tolerance, tolerance, /*equal_nan=*/true))
          << (got - expected).abs().max().to(at::kFloat).item<float>() << " apart";
    }
  }

  Module module_;
  Module packed_;
};

TEST_F(PackWeightsTest, LinearsTakeTheirActivationsWithThem) {
  Weight("wide", {768, 256});
  Weight("bias", {768});
  Weight("narrow", {256, 768});
  const auto kinds = Pack(
      "  h = torch.gelu(torch.linear(x, self.wide, self.bias), approximate='tanh')\n"
      "  return torch.relu_(torch.linear(h, self.narrow))\n");
  EXPECT_EQ(kinds.count("aten::linear"), 0);
  EXPECT_EQ(kinds.count("aten::gelu") + kinds.count("aten::relu") + kinds.count("aten::relu_"), 0);
  EXPECT_EQ(kinds.at("mkldnn::_linear_pointwise"), 2);
  for (const std::int64_t rows : {1, 3, 40}) ExpectTheSame(at::randn({rows, 256}));
  ExpectTheSame(at::randn({2, 7, 256}));
}

TEST_F(PackWeightsTest, ValuesThatAreNeededTwiceStay) {
  Weight("large", {640, 256});
  const auto kinds = Pack(
      "  h = torch.linear(x, self.large)\n"
      "  return torch.relu(h) + h\n");
  EXPECT_EQ(kinds.at("mkldnn::_linear_pointwise"), 1);
  EXPECT_EQ(kinds.at("aten::relu"), 1);
  ExpectTheSame(at::randn({5, 256}));
}

/// Those that need a kernel for this CPU.
class OwnKernelsTest : public PackWeightsTest {
 protected:
  void SetUp() override {
    if (BestCpuKernels() == nullptr) GTEST_SKIP() << "no kernel of ours for this CPU";
  }

  void ExpectTheSameRefusal(const at::Tensor& input) {
    const auto refusal = [&](Module& module) -> std::string {
      try {
        module.forward({input});
      } catch (const std::exception& error) {
        const std::string text = error.what();
        const std::size_t at = text.find("RuntimeError: ");
        return text.substr(at, text.find('\n', at) - at);
      }
      return "none";
    };
    EXPECT_NE(refusal(module_), "none");
    EXPECT_EQ(refusal(packed_), refusal(module_));
  }
};

TEST_F(OwnKernelsTest, SmallLinearsThatFollowEachOtherAreOneOperator) {
  Weight("first", {256, 64});
  Weight("bias", {256});
  Weight("second", {256, 256});
  Weight("last", {5, 256});
  const auto kinds = Pack(
      "  h = torch.relu(torch.linear(x, self.first, self.bias))\n"
      "  h = torch.relu_(torch.linear(h, self.second, self.bias))\n"
      "  return torch.linear(h, self.last)\n");
  EXPECT_EQ(kinds.at("flambeau::dense_layers"), 1);
  EXPECT_EQ(kinds.count("aten::linear") + kinds.count("aten::relu"), 0);
  for (const std::int64_t rows : {1, 3, 9, 100, 1000}) ExpectTheSame(at::randn({rows, 64}));
  ExpectTheSame(at::randn({2, 7, 64}));
  ExpectTheSame(at::randn({64}));
  ExpectTheSame(at::randn({64, 9}).t());
  ExpectTheSame(at::randn({0, 64}));
  ExpectTheSameRefusal(at::randn({2, 63}));
  ExpectTheSameRefusal(at::randn({2, 64}, at::kDouble));
}

TEST_F(OwnKernelsTest, SmallLinearsSideBySideStayApart) {
  Weight("left", {24, 32});
  Weight("right", {40, 32});
  Weight("head", {3, 24});
  const auto kinds = Pack(
      "  a = torch.linear(x, self.left)\n"
      "  b = torch.relu(torch.linear(x, self.right))\n"
      "  return torch.cat([torch.linear(a, self.head), torch.linear(torch.sigmoid(a), self.head), b], -1)\n");
  EXPECT_EQ(kinds.at("flambeau::dense_layers"), 4);
  ExpectTheSame(at::randn({11, 32}));
}

TEST_F(OwnKernelsTest, ConvolutionsByWinogradTakeTheRestOfTheirBlockWithThem) {
  Weight("first", {32, 16, 3, 3});
  Weight("bias", {32});
  Weight("second", {16, 32, 3, 3});
  const auto kinds = Pack(
      "  h = torch.relu_(torch.conv2d(x, self.first, self.bias, [1, 1], [1, 1]))\n"
      "  h = torch.conv2d(h, self.second, None, [1, 1], [1, 1])\n"
      "  h += x\n"
      "  return torch.relu_(h)\n",
      true);
  EXPECT_EQ(kinds.at("flambeau::winograd_conv2d"), 2);
  EXPECT_EQ(kinds.count("aten::add") + kinds.count("aten::relu"), 0);
  for (const auto& [height, width] : {std::pair{8, 8}, {9, 11}, {1, 1}, {14, 3}, {56, 56}}) {
    for (const std::int64_t rows : {1, 3}) {
      ExpectTheSame(at::randn({rows, 16, height, width}));
      ExpectTheSame(at::randn({rows, 16, height, width}).contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
  ExpectTheSame(at::randn({16, 6, 6}));  // a picture without a batch
  ExpectTheSame(at::randn({0, 16, 6, 6}));
  ExpectTheSameRefusal(at::randn({1, 8, 6, 6}));
}

TEST_F(OwnKernelsTest, WinogradTakesBfloat16) {
  Weight("first", {32, 16, 3, 3});
  Weight("bias", {32});
  Weight("second", {16, 32, 3, 3});
  module_.to(at::kBFloat16);
  const auto kinds = Pack(
      "  h = torch.relu(torch.conv2d(x, self.first, self.bias, [1, 1], [1, 1]))\n"
      "  return torch.conv2d(h, self.second, None, [1, 1], [1, 1]) + x\n",
      true);
  EXPECT_EQ(kinds.at("flambeau::winograd_conv2d"), 2);
  ExpectTheSame(at::randn({2, 16, 11, 9}).to(at::kBFloat16), 3e-2);
  ExpectTheSame(at::full({1, 16, 4, 4}, std::numeric_limits<float>::infinity()).to(at::kBFloat16));
}

TEST_F(OwnKernelsTest, WinogradTakesTheEdgeAsItIs) {
  Weight("inside", {16, 16, 3, 3});
  Weight("wide", {16, 16, 3, 3});
  const auto kinds = Pack(
      "  h = torch.conv2d(x, self.inside)\n"
      "  h = torch.conv2d(h, self.wide, None, [1, 1], [2, 0])\n"
      "  return torch.silu(h)\n",
      true);
  EXPECT_EQ(kinds.at("flambeau::winograd_conv2d"), 2);
  EXPECT_EQ(kinds.at("aten::silu"), 1);
  ExpectTheSame(at::randn({2, 16, 12, 13}));
  ExpectTheSameRefusal(at::randn({1, 16, 2, 2}));
}

TEST_F(OwnKernelsTest, OtherConvolutionsKeepTheirWay) {
  Weight("strided", {16, 16, 3, 3});
  Weight("odd", {24, 16, 5, 5});
  Weight("few", {7, 24, 3, 3});
  const auto kinds = Pack(
      "  h = torch.conv2d(x, self.strided, None, [2, 2], [1, 1])\n"
      "  h = torch.conv2d(h, self.odd)\n"
      "  return torch.conv2d(h, self.few, None, [1, 1], [2, 2], [2, 2])\n",
      true);
  EXPECT_EQ(kinds.count("flambeau::winograd_conv2d"), 0);
  EXPECT_EQ(kinds.at("mkldnn::_convolution_pointwise"), 3);
  ExpectTheSame(at::randn({2, 16, 20, 21}));
}

TEST_F(OwnKernelsTest, AttentionTakesMasksOfEveryKind) {
  const auto kinds = Pack(
      "  heads = x.view(x.size(0), x.size(1), 3, -1).transpose(1, 2)\n"
      "  q = heads * 0.7\n"
      "  k = heads.flip([2])\n"
      "  plain = torch.scaled_dot_product_attention(q, k, heads)\n"
      "  visible = (x[:, :, 0] > -1.0)[:, None, None, :]\n"
      "  padded = torch.scaled_dot_product_attention(q, k, heads, visible, scale=0.3)\n"
      "  added = x.mean(-1)[:, None, :, None] * x.mean(-1)[:, None, None, :]\n"
      "  biased = torch.scaled_dot_product_attention(q, k[:, :, 1:], heads[:, :, 1:], added[:, :, :, 1:])\n"
      "  hidden = torch.ones_like(added) < 0\n"
      "  nothing = torch.scaled_dot_product_attention(q, k, heads, hidden)\n"
      "  y = torch.cat([plain, padded, biased, nothing], -1).transpose(1, 2)\n"
      "  return y.reshape([x.size(0), x.size(1), -1])\n");
  EXPECT_EQ(kinds.at("flambeau::attention"), 4);
  for (const std::int64_t width : {3, 60, 96, 150, 300}) ExpectTheSame(at::randn({2, 17, width}));
  ExpectTheSame(at::randn({1, 128, 96}));
  ExpectTheSame(at::randn({3, 200, 96}));
  ExpectTheSame(at::randn({2, 17, 900}));  // wider heads than the kernel takes
  ExpectTheSame(at::randn({2, 17, 96}).to(at::kDouble));
}

TEST_F(OwnKernelsTest, AttentionThatIsCausalOrDropsStays) {
  const auto kinds = Pack(
      "  h = x[:, None]\n"
      "  a = torch.scaled_dot_product_attention(h, h, h, None, 0.0, True)\n"
      "  return torch.scaled_dot_product_attention(a, a, h)\n");
  EXPECT_EQ(kinds.at("flambeau::attention"), 1);
  EXPECT_EQ(kinds.at("aten::scaled_dot_product_attention"), 1);
  ExpectTheSame(at::randn({2, 9, 16}));
}

TEST_F(PackWeightsTest, AResidualBlockIsTwoOperators) {
  Weight("first", {16, 16, 3, 3});
  Weight("second", {16, 16, 3, 3});
  const auto kinds = Pack(
      "  h = torch.relu_(torch.conv2d(x, self.first, None, [1, 1], [1, 1]))\n"
      "  h = torch.conv2d(h, self.second, None, [1, 1], [1, 1])\n"
      "  h += x\n"
      "  return torch.relu_(h)\n");
  EXPECT_EQ(kinds.at("mkldnn::_convolution_pointwise"), 2);
  EXPECT_EQ(kinds.count("aten::add") + kinds.count("aten::add_"), 0);
  for (const std::int64_t rows : {1, 4}) {
    ExpectTheSame(at::randn({rows, 16, 9, 11}));
    ExpectTheSame(at::randn({rows, 16, 9, 11}).contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST_F(PackWeightsTest, StridesGroupsAndOtherAdditionsAreKept) {
  Weight("depthwise", {16, 1, 3, 3});
  Weight("strided", {24, 16, 3, 5});
  Weight("bias", {24});
  const auto kinds = Pack(
      "  h = torch.conv2d(x, self.depthwise, None, [1, 1], [1, 1], [1, 1], 16)\n"
      "  h = torch.add(h, x, alpha=2)\n"
      "  h = torch.add(torch.conv2d(h, self.strided, self.bias, [2, 1], [1, 2], [1, 1]), self.bias[:, None, "
      "None])\n"
      "  return torch.silu(h)\n");
  EXPECT_EQ(kinds.at("mkldnn::_convolution_pointwise"), 2);
  EXPECT_EQ(kinds.at("aten::add"), 2);
  ExpectTheSame(at::randn({2, 16, 12, 13}));
}

TEST_F(PackWeightsTest, NothingIsMovedBehindAChangeOfItsInput) {
  Weight("large", {256, 256});
  Pack(
      "  view = x[0]\n"
      "  h = torch.linear(x, self.large)\n"
      "  view.mul_(3.0)\n"
      "  return torch.relu(h) + x\n");
  ExpectTheSame(at::randn({4, 256}));
}

TEST_F(PackWeightsTest, BranchesAndLoopsArePackedInside) {
  Weight("large", {256, 256});
  Pack(
      "  for i in range(3):\n"
      "    if bool(x.sum() > 0):\n"
      "      x = torch.tanh(torch.linear(x, self.large))\n"
      "    else:\n"
      "      x = torch.linear(x, self.large) + 0.5\n"
      "  return x\n");
  ExpectTheSame(at::randn({4, 256}).abs());
  ExpectTheSame(-at::randn({4, 256}).abs());
}

}  // namespace
}  // namespace serve
