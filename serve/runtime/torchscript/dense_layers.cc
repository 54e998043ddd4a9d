#include "serve/runtime/torchscript/dense_layers.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "serve/runtime/torchscript/cpu_kernels.h"
#include "serve/runtime/torchscript/graph_tools.h"

namespace serve {
namespace {

using torch::jit::Node;

constexpr const char* kOperator = "flambeau::dense_layers";
constexpr std::int64_t kTileRows = 48;           // that go through all layers before the next ones
constexpr std::int64_t kWorkOfThread = 4 << 20;  // multiplications that pay for waking another thread

c10::Symbol Weights() { return c10::Symbol::attr("weights"); }
c10::Symbol Biases() { return c10::Symbol::attr("biases"); }  // an empty tensor where there is none
c10::Symbol Relus() { return c10::Symbol::attr("relus"); }

/// What one node computes. Shared by all threads that run the graph.
class DenseLayers {
 public:
  explicit DenseLayers(const Node* node)
      : weights_(node->ts(Weights())), biases_(node->ts(Biases())), relus_(node->is(Relus())) {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      const at::Tensor weight = weights_[i].contiguous();
      const at::Tensor bias = biases_[i].contiguous();
      layers_.push_back(PackDense(kernels_, weight.const_data_ptr<float>(),
                                  bias.numel() == 0 ? nullptr : bias.const_data_ptr<float>(), weight.size(1),
                                  weight.size(0), relus_[i] != 0));
      widest_ = std::max(widest_, weight.size(0));
      work_of_row_ += weight.numel();
    }
  }

  at::Tensor Run(const at::Tensor& input) const {
    if (!IsOrdinary(input)) return RunByLibtorch(input);
    const at::Tensor dense = input.contiguous();
    std::vector<std::int64_t> shape = dense.sizes().vec();
    shape.back() = layers_.back().outputs;
    at::Tensor output = at::empty(shape, dense.options());
    const std::int64_t rows = dense.numel() / layers_.front().inputs;
    const auto* x = dense.const_data_ptr<float>();
    auto* y = output.mutable_data_ptr<float>();
    const std::int64_t grain = std::max(kTileRows, kWorkOfThread / work_of_row_);
    at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; row += kTileRows) {
        RunTile(x + row * layers_.front().inputs, std::min(kTileRows, end - row),
                y + row * layers_.back().outputs);
      }
    });
    return output;
  }

 private:
  bool IsOrdinary(const at::Tensor& input) const {
    return input.scalar_type() == at::kFloat && input.is_cpu() && input.layout() == at::kStrided &&
           input.dim() > 0 && input.size(-1) == layers_.front().inputs && input.numel() > 0;
  }

  /// Wrong shapes and types get libtorch's own message.
  at::Tensor RunByLibtorch(at::Tensor value) const {
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      value = biases_[i].numel() == 0 ? at::linear(value, weights_[i])
                                      : at::linear(value, weights_[i], biases_[i]);
      if (relus_[i] != 0) value = at::relu(value);
    }
    return value;
  }

  void RunTile(const float* x, std::int64_t rows, float* y) const {
    thread_local std::vector<float> between[2];
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const bool last = i + 1 == layers_.size();
      std::vector<float>& room = between[i % 2];
      const auto wanted = static_cast<std::size_t>(kTileRows * widest_);
      if (!last && room.size() < wanted) room.resize(wanted);
      float* to = last ? y : room.data();
      kernels_.run_dense(layers_[i].view(), x, rows, to);
      x = to;
    }
  }

  const CpuKernels& kernels_ = *BestCpuKernels();
  const std::vector<at::Tensor> weights_;
  const std::vector<at::Tensor> biases_;
  const std::vector<std::int64_t> relus_;
  std::vector<DenseLayer> layers_;
  std::int64_t widest_ = 0;
  std::int64_t work_of_row_ = 0;
};

torch::jit::Operation MakeOperation(const Node* node) {
  return [layers = std::make_shared<const DenseLayers>(node)](torch::jit::Stack& stack) {
    at::Tensor output = layers->Run(stack.back().toTensor());
    stack.back() = std::move(output);
  };
}

/// What of a graph can become layers of one operator.
struct Found {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  std::vector<std::int64_t> relus;
  std::vector<Node*> nodes;
};

bool IsSmallFloat(const std::optional<at::Tensor>& tensor, std::int64_t dimensions) {
  return tensor && tensor->dim() == dimensions && tensor->scalar_type() == at::kFloat && tensor->is_cpu() &&
         tensor->layout() == at::kStrided && tensor->numel() > 0 && tensor->numel() <= kMostDenseWeights;
}

/// Adds the linear and the ReLU behind it. False: it is none, or it does not follow.
bool Add(Node* node, Found& found) {
  if (KindOf(node) != "aten::linear") return false;
  const std::optional<at::Tensor> weight = Constant<at::Tensor>(node->inputs()[1]);
  if (!IsSmallFloat(weight, 2)) return false;
  if (!found.weights.empty() && found.weights.back().size(0) != weight->size(1)) return false;
  at::Tensor bias = at::empty({0}, weight->options());
  if (const std::optional<c10::IValue> given = torch::jit::toIValue(node->inputs()[2]); !given) {
    return false;
  } else if (!given->isNone()) {
    if (!given->isTensor() || !IsSmallFloat(given->toTensor(), 1) ||
        given->toTensor().size(0) != weight->size(0))
      return false;
    bias = given->toTensor();
  }
  found.weights.push_back(*weight);
  found.biases.push_back(std::move(bias));
  found.nodes.push_back(node);
  Node* user = OnlyUser(node->output());
  const bool relu = user != nullptr && KindOf(user) == "aten::relu";
  if (relu) found.nodes.push_back(user);
  found.relus.push_back(relu ? 1 : 0);
  return true;
}

/// Puts one operator in the place of the layers from `node` on. False: there are none.
bool Replace(torch::jit::Graph& graph, Node* node) {
  Found found;
  for (Node* next = node; next != nullptr && Add(next, found);) next = OnlyUser(found.nodes.back()->output());
  if (found.nodes.empty()) return false;
  Node* last = found.nodes.back();
  if (last != node && ChangesBetween(node, last)) return false;
  const torch::jit::WithInsertPoint point(last);
  Node* layers = graph.create(c10::Symbol::fromQualString(kOperator), {node->inputs()[0]}, 1);
  layers->ts_(Weights(), std::move(found.weights));
  layers->ts_(Biases(), std::move(found.biases));
  layers->is_(Relus(), std::move(found.relus));
  layers->output()->setType(c10::TensorType::get());
  graph.insertNode(layers);
  last->output()->replaceAllUsesWith(layers->output());
  for (auto one = found.nodes.rbegin(); one != found.nodes.rend(); ++one) (*one)->destroy();
  return true;
}

void Walk(torch::jit::Graph& graph, torch::jit::Block* block) {
  for (Node* node = *block->nodes().begin(); node != block->return_node();) {
    for (torch::jit::Block* inner : node->blocks()) Walk(graph, inner);
    Node* before = node->prev();  // what stands between the layers is looked at too
    node = Replace(graph, node) ? before->next() : node->next();
  }
}

}  // namespace

void UseDenseLayers(const std::shared_ptr<torch::jit::Graph>& graph) {
  if (BestCpuKernels() == nullptr) return;
  [[maybe_unused]] static const auto registered = OwnOperator(kOperator, MakeOperation);
  Walk(*graph, graph->block());
}

}  // namespace serve
