#include "serve/runtime/torchscript/pack_weights.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/remove_mutation.h>

#include "serve/runtime/torchscript/attention.h"
#include "serve/runtime/torchscript/dense_layers.h"
#include "serve/runtime/torchscript/graph_tools.h"
#include "serve/runtime/torchscript/winograd.h"

namespace serve {
namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/// A call of a oneDNN operator costs some 15 µs more than one of MKL; smaller weights do not win that back.
constexpr std::int64_t kFewestWeights = 65'536;

struct Activation {
  const char* node;  // what stands in the graph, without the `_` of a change in place
  const char* name;  // what the oneDNN operators call it
};
constexpr std::array<Activation, 5> kActivations = {{{"aten::relu", "relu"},
                                                     {"aten::gelu", "gelu"},
                                                     {"aten::sigmoid", "sigmoid"},
                                                     {"aten::tanh", "tanh"},
                                                     {"aten::silu", "swish"}}};

bool IsPackable(const std::optional<at::Tensor>& weight, std::int64_t dimensions) {
  return weight && weight->dim() == dimensions && !weight->is_mkldnn() &&
         (weight->scalar_type() == at::kFloat || weight->scalar_type() == at::kBFloat16);
}

at::Tensor CallBoxed(const char* name, std::vector<c10::IValue> stack) {
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(&stack);
  return stack.at(0).toTensor();
}

/// The pass over one graph.
class Packer {
 public:
  Packer(Graph& graph, bool winograd) : graph_(graph), winograd_(winograd) {}

  void Pack(Block* block) {
    // A replacement stands at or behind the node that it replaces, so the one in front of it goes on.
    for (Node* node = *block->nodes().begin(); node != block->return_node();) {
      for (Block* inner : node->blocks()) Pack(inner);
      Node* next = node->next();
      const std::string kind = KindOf(node);
      if (kind == "aten::linear") {
        PackLinear(node);
      } else if (kind == "aten::conv2d" || kind == "aten::_convolution") {
        PackConvolution(node);
      }
      node = next;
    }
  }

 private:
  struct Fused {
    Node* last;              // whose value the new operator gives
    Value* other = nullptr;  // that is added before the activation
    std::string attribute = "none";
    Value* algorithm = nullptr;  // of gelu
  };

  Value* Scalars() {
    return graph_.insertNode(graph_.createList(c10::OptionalType::create(c10::NumberType::get()), {}))
        ->output();
  }
  Value* Text(std::string_view text) { return graph_.insertConstant(std::string(text)); }

  Value* Weight(const at::Tensor& packed) {
    // An opaque tensor is no ordinary constant.
    Node* constant = graph_.create(torch::jit::prim::ConstantMKLDNNTensor);
    constant->t_(torch::jit::attr::value, packed);
    return graph_.insertNode(constant)->output();
  }

  static Fused WithActivation(Fused fused, Node* start, std::string_view only = "") {
    Node* user = OnlyUser(fused.last->output());
    if (user == nullptr || ChangesBetween(start, user)) return fused;
    const std::string kind = KindOf(user);
    for (const Activation& activation : kActivations) {
      if (kind != activation.node || (!only.empty() && only != activation.name)) continue;
      fused.last = user;
      fused.attribute = activation.name;
      if (kind == "aten::gelu") fused.algorithm = user->inputs()[1];
    }
    return fused;
  }

  /// `node` with `other + node` and the activation behind it.
  static Fused WithAddition(Node* node) {
    const Fused alone{.last = node};
    Node* user = OnlyUser(node->output());
    if (user == nullptr || KindOf(user) != "aten::add" || user->inputs().size() != 3 ||
        ChangesBetween(node, user))
      return alone;
    const std::optional<c10::IValue> alpha = torch::jit::toIValue(user->inputs()[2]);
    if (!alpha || !alpha->isScalar() || !alpha->toScalar().equal(1)) return alone;
    Value* other = user->inputs()[user->inputs()[0] == node->output() ? 1 : 0];
    const bool tensor = other->type()->isSubtypeOf(*c10::TensorType::get());
    if (!tensor || other == node->output() || torch::jit::toIValue(other)) return alone;
    return {.last = user, .other = other};
  }

  void Replace(const Fused& fused, const char* name, const std::vector<Value*>& inputs) {
    Node* packed = graph_.create(c10::Symbol::fromQualString(name), inputs, 1);
    packed->output()->setType(c10::TensorType::get());
    Insert(fused, packed);
  }

  void Insert(const Fused& fused, Node* packed) {
    graph_.insertNode(packed);
    fused.last->output()->replaceAllUsesWith(packed->output());
    (void)packed->getOperator();  // throws when there is no such operator
  }

  void PackLinear(Node* node) {
    const std::optional<at::Tensor> weight = Constant<at::Tensor>(node->inputs()[1]);
    if (!IsPackable(weight, 2) || weight->numel() < kFewestWeights) return;
    const Fused fused = WithActivation({.last = node}, node);
    const torch::jit::WithInsertPoint point(fused.last);
    const at::Tensor packed =
        CallBoxed("mkldnn::_reorder_linear_weight", {weight->contiguous(), c10::IValue()});
    Replace(fused, "mkldnn::_linear_pointwise",
            {node->inputs()[0], Weight(packed), node->inputs()[2], Text(fused.attribute), Scalars(),
             fused.algorithm != nullptr ? fused.algorithm : Text("")});
  }

  void PackConvolution(Node* node) {
    const bool general = KindOf(node) == "aten::_convolution";  // (…, transposed, output_padding, groups, …)
    const auto inputs = node->inputs();
    const std::optional<at::Tensor> weight = Constant<at::Tensor>(inputs[1]);
    const auto stride = Constant<std::vector<std::int64_t>>(inputs[3]);
    const auto padding = Constant<std::vector<std::int64_t>>(inputs[4]);
    const auto dilation = Constant<std::vector<std::int64_t>>(inputs[5]);
    const auto groups = Constant<std::int64_t>(inputs[general ? 8 : 6]);
    if (!IsPackable(weight, 4) || !stride || !padding || !dilation || !groups) return;
    if (general && Constant<bool>(inputs[6]) != false) return;
    if (winograd_ && PackWinograd(node, *weight, *stride, *padding, *dilation, *groups)) return;
    const Fused fused = WithActivation(WithAddition(node), node);
    const torch::jit::WithInsertPoint point(fused.last);
    const at::Tensor packed = CallBoxed("mkldnn::_reorder_convolution_weight",
                                        {*weight, *padding, *stride, *dilation, *groups, c10::IValue()});
    std::vector<Value*> arguments{inputs[0]};
    if (fused.other != nullptr) arguments.push_back(fused.other);
    arguments.insert(arguments.end(),
                     {Weight(packed), inputs[2], inputs[4], inputs[3], inputs[5], inputs[general ? 8 : 6]});
    if (fused.other == nullptr) {
      arguments.insert(arguments.end(), {Text(fused.attribute), Scalars(),
                                         fused.algorithm != nullptr ? fused.algorithm : Text("")});
    } else {
      Value* none = graph_.insertConstant(c10::IValue());
      arguments.insert(arguments.end(), {Text("add"), graph_.insertConstant(1.0),
                                         fused.attribute == "none" ? none : Text(fused.attribute), Scalars(),
                                         fused.algorithm != nullptr ? fused.algorithm : none});
    }
    Replace(fused, "mkldnn::_convolution_pointwise", arguments);
  }

  bool PackWinograd(Node* node, const at::Tensor& weight, const std::vector<std::int64_t>& stride,
                    const std::vector<std::int64_t>& padding, const std::vector<std::int64_t>& dilation,
                    std::int64_t groups) {
    const auto all_one = [](const std::vector<std::int64_t>& values) {
      return std::all_of(values.begin(), values.end(), [](std::int64_t value) { return value == 1; });
    };
    if (!FitsWinograd(weight) || !all_one(stride) || !all_one(dilation) || groups != 1) return false;
    const std::optional<c10::IValue> bias = torch::jit::toIValue(node->inputs()[2]);
    if (!bias || (!bias->isNone() && !bias->isTensor())) return false;
    const Fused fused = WithActivation(WithAddition(node), node, "relu");
    const torch::jit::WithInsertPoint point(fused.last);
    Insert(fused, MakeWinograd(graph_, node->inputs()[0], fused.other, weight,
                               bias->isTensor() ? bias->toTensor() : at::Tensor(),
                               {padding.front(), padding.back()}, fused.attribute == "relu"));
    return true;
  }

  Graph& graph_;
  const bool winograd_;
};

}  // namespace

void PackWeights(const std::shared_ptr<torch::jit::Graph>& graph, bool winograd) {
  torch::jit::RemoveTensorMutation(graph);
  UseDenseLayers(graph);
  UseOwnAttention(graph);
  Packer(*graph, winograd).Pack(graph->block());
  torch::jit::EliminateDeadCode(graph);
}

}  // namespace serve
