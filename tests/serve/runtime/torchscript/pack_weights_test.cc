// A packed graph holds oneDNN's operators where that is allowed, and gives the numbers of the module as it
// was.
#include "serve/runtime/torchscript/pack_weights.h"

#include <map>
#include <memory>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>

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
  std::map<std::string, int> Pack(const std::string& body) {
    module_.define("def forward(self, x: Tensor) -> Tensor:\n" + body);
    module_.eval();
    packed_ = torch::jit::freeze(module_);
    const auto graph = packed_.get_method("forward").graph();
    PackWeights(graph);
    std::map<std::string, int> kinds;
    for (const torch::jit::Node* node : graph->nodes()) ++kinds[node->kind().toQualString()];
    return kinds;
  }

  void ExpectTheSame(const at::Tensor& input) {
    const c10::InferenceMode guard;
    for (Module* module : {&module_, &packed_}) {
      torch::jit::toGraphFunction(module->get_method("forward").function())
          ._set_initial_executor_execution_mode(torch::jit::ExecutorExecutionMode::SIMPLE);
    }
    const at::Tensor expected = module_.forward({input.clone()}).toTensor();
    for (int i = 0; i < 2; ++i) {
      const at::Tensor got = packed_.forward({input.clone()}).toTensor();
      ASSERT_EQ(got.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(got, expected, 1e-4, 1e-4))
          << (got - expected).abs().max().item<float>() << " apart";
    }
  }

  Module module_;
  Module packed_;
};

TEST_F(PackWeightsTest, LinearsTakeTheirActivationsWithThem) {
  Weight("wide", {512, 256});
  Weight("bias", {512});
  Weight("narrow", {256, 512});
  const auto kinds = Pack(
      "  h = torch.gelu(torch.linear(x, self.wide, self.bias), approximate='tanh')\n"
      "  return torch.relu_(torch.linear(h, self.narrow))\n");
  EXPECT_EQ(kinds.count("aten::linear"), 0);
  EXPECT_EQ(kinds.count("aten::gelu") + kinds.count("aten::relu") + kinds.count("aten::relu_"), 0);
  EXPECT_EQ(kinds.at("mkldnn::_linear_pointwise"), 2);
  for (const std::int64_t rows : {1, 3, 40}) ExpectTheSame(at::randn({rows, 256}));
  ExpectTheSame(at::randn({2, 7, 256}));
}

TEST_F(PackWeightsTest, SmallLinearsAndValuesThatAreNeededTwiceStay) {
  Weight("small", {8, 256});
  Weight("large", {256, 256});
  const auto kinds = Pack(
      "  h = torch.linear(x, self.large)\n"
      "  return torch.linear(torch.relu(h) + h, self.small)\n");
  EXPECT_EQ(kinds.at("aten::linear"), 1);
  EXPECT_EQ(kinds.at("mkldnn::_linear_pointwise"), 1);
  EXPECT_EQ(kinds.at("aten::relu"), 1);
  ExpectTheSame(at::randn({5, 256}));
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
