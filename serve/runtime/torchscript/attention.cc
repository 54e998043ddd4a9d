#include "serve/runtime/torchscript/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "serve/runtime/torchscript/cpu_kernels.h"
#include "serve/runtime/torchscript/graph_tools.h"

namespace serve {
namespace {

using torch::jit::Node;

constexpr const char* kOperator = "flambeau::attention";
constexpr std::int64_t kQueriesAtOnce = 48;
constexpr std::int64_t kMostWidth = 256;  // of a head; beyond it the general way is as good

/// One [rows, width] matrix of a [batch, heads, rows, width] tensor: rows may lie apart, their numbers do
/// not.
struct Rows {
  const float* data;
  std::int64_t step;

  static Rows Of(const at::Tensor& tensor, std::int64_t batch, std::int64_t head) {
    return {tensor.const_data_ptr<float>() + batch * tensor.stride(0) + head * tensor.stride(1),
            tensor.stride(2)};
  }
};

/// Memory of one thread, reused for every head.
struct Room {
  std::vector<float> keys, values, bias, zeros, queries, scores, out;

  static float* Of(std::vector<float>& room, std::int64_t count) {
    if (room.size() < static_cast<std::size_t>(count)) room.resize(static_cast<std::size_t>(count));
    return room.data();
  }
};

/// `rows` [count, width] as the weights of a layer with `width` inputs and `count` outputs: keys.
void PackAcross(const CpuKernels& kernels, const Rows& rows, std::int64_t count, std::int64_t width,
                float* to) {
  const std::int64_t padded = (count + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  for (std::int64_t first = 0; first < count; first += kernels.panel) {
    const std::int64_t columns = std::min(kernels.panel, padded - first);
    float* panel = to + first * width;
    for (std::int64_t column = 0; column < columns; ++column) {
      const float* row = rows.data + (first + column) * rows.step;
      const bool exists = first + column < count;
      for (std::int64_t k = 0; k < width; ++k) panel[k * columns + column] = exists ? row[k] : 0.0F;
    }
  }
}

/// `rows` [count, width] as the weights of a layer with `count` inputs and `width` outputs: values.
void PackAlong(const CpuKernels& kernels, const Rows& rows, std::int64_t count, std::int64_t width,
               float* to) {
  const std::int64_t padded = (width + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  for (std::int64_t first = 0; first < width; first += kernels.panel) {
    const std::int64_t columns = std::min(kernels.panel, padded - first);
    const std::int64_t real = std::min(columns, width - first);
    float* panel = to + first * count;
    for (std::int64_t k = 0; k < count; ++k) {
      const float* row = rows.data + k * rows.step + first;
      std::copy_n(row, real, panel + k * columns);
      std::fill(panel + k * columns + real, panel + (k + 1) * columns, 0.0F);
    }
  }
}

/// softmax(q k' scale + mask) v. `mask`: float, of the shape of the scores (with steps of 0), or undefined.
at::Tensor Attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask,
                     float scale) {
  const CpuKernels& kernels = *BestCpuKernels();
  const std::int64_t heads = q.size(1);
  const std::int64_t queries = q.size(2);
  const std::int64_t keys = k.size(2);
  const std::int64_t width = q.size(3);
  const std::int64_t width_out = v.size(3);
  // In the order in which models put the heads of a row side by side again.
  at::Tensor output = at::empty({q.size(0), queries, heads, width_out}, q.options()).transpose(1, 2);
  const std::int64_t padded_keys = (keys + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  const std::int64_t padded_out = (width_out + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  // A mask that is the same for every query is what a layer calls its bias.
  const bool mask_is_bias = !mask.defined() || mask.stride(2) == 0;
  at::parallel_for(0, q.size(0) * heads, 1, [&](std::int64_t begin, std::int64_t end) {
    thread_local Room room;
    float* packed_keys = Room::Of(room.keys, padded_keys * width);
    float* packed_values = Room::Of(room.values, padded_out * keys);
    float* bias = Room::Of(room.bias, padded_keys);
    float* zeros = Room::Of(room.zeros, padded_out);  // never written
    float* x = Room::Of(room.queries, kQueriesAtOnce * width);
    float* scores = Room::Of(room.scores, kQueriesAtOnce * keys);
    float* out = Room::Of(room.out, kQueriesAtOnce * width_out);
    std::array<float, kQueriesAtOnce> sums;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t batch = task / heads;
      const std::int64_t head = task % heads;
      PackAcross(kernels, Rows::Of(k, batch, head), keys, width, packed_keys);
      PackAlong(kernels, Rows::Of(v, batch, head), keys, width_out, packed_values);
      const float* masks = mask.defined()
                               ? mask.const_data_ptr<float>() + batch * mask.stride(0) + head * mask.stride(1)
                               : nullptr;
      std::fill_n(bias, padded_keys, 0.0F);
      if (masks != nullptr && mask_is_bias) {
        for (std::int64_t i = 0; i < keys; ++i) bias[i] = masks[i * mask.stride(3)];
      }
      const Rows from = Rows::Of(q, batch, head);
      float* to = output.mutable_data_ptr<float>() + batch * output.stride(0) + head * output.stride(1);
      for (std::int64_t first = 0; first < queries; first += kQueriesAtOnce) {
        const std::int64_t rows = std::min(kQueriesAtOnce, queries - first);
        for (std::int64_t row = 0; row < rows; ++row) {
          const float* query = from.data + (first + row) * from.step;
          for (std::int64_t i = 0; i < width; ++i) x[row * width + i] = query[i] * scale;
        }
        kernels.run_dense({width, keys, false, packed_keys, bias}, x, rows, scores);
        for (std::int64_t row = 0; row < rows; ++row) {
          float* numbers = scores + row * keys;
          if (!mask_is_bias) {
            const float* added = masks + (first + row) * mask.stride(2);
            for (std::int64_t i = 0; i < keys; ++i) numbers[i] += added[i * mask.stride(3)];
          }
          sums[static_cast<std::size_t>(row)] = kernels.exponentials(numbers, keys);
        }
        kernels.run_dense({keys, width_out, false, packed_values, zeros}, scores, rows, out);
        for (std::int64_t row = 0; row < rows; ++row) {
          // A query that may see nothing gets zeros, as in libtorch.
          const float sum = sums[static_cast<std::size_t>(row)];
          const float share = sum == 0 ? 0.0F : 1 / sum;
          float* answer = to + (first + row) * output.stride(2);
          for (std::int64_t i = 0; i < width_out; ++i) answer[i] = out[row * width_out + i] * share;
        }
      }
    }
  });
  return output;
}

bool IsOrdinary(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat && tensor.is_cpu() && tensor.layout() == at::kStrided &&
         tensor.dim() == 4 && tensor.stride(3) == 1 && tensor.numel() > 0;
}

/// The mask as what is added to the scores; nullopt: it is of a kind that libtorch shall look at.
std::optional<at::Tensor> Additive(const c10::IValue& given, at::IntArrayRef scores) {
  if (given.isNone()) return at::Tensor();
  at::Tensor mask = given.toTensor();
  if (!at::is_expandable_to(mask.sizes(), scores)) return std::nullopt;
  if (mask.scalar_type() == at::kBool) {
    mask =
        at::where(mask, at::scalar_tensor(0.0F), at::scalar_tensor(-std::numeric_limits<float>::infinity()));
  }
  if (mask.scalar_type() != at::kFloat) return std::nullopt;
  return mask.expand(scores);
}

at::Tensor Run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const c10::IValue& mask,
               std::optional<double> scale) {
  const bool ordinary = IsOrdinary(q) && IsOrdinary(k) && IsOrdinary(v) && q.size(0) == k.size(0) &&
                        q.size(0) == v.size(0) && q.size(1) == k.size(1) && q.size(1) == v.size(1) &&
                        q.size(3) == k.size(3) && k.size(2) == v.size(2) && q.size(3) <= kMostWidth &&
                        v.size(3) <= kMostWidth;
  if (ordinary) {
    if (const auto added = Additive(mask, {q.size(0), q.size(1), q.size(2), k.size(2)})) {
      const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
      return Attention(q, k, v, *added, static_cast<float>(factor));
    }
  }
  return at::scaled_dot_product_attention(q, k, v, mask.toOptional<at::Tensor>(), 0.0, false, scale, false);
}

torch::jit::Operation MakeOperation(const Node* /*node*/) {
  return [](torch::jit::Stack& stack) {
    const auto scale = torch::jit::pop(stack).toOptional<double>();
    const c10::IValue mask = torch::jit::pop(stack);
    const at::Tensor v = torch::jit::pop(stack).toTensor();
    const at::Tensor k = torch::jit::pop(stack).toTensor();
    const at::Tensor q = torch::jit::pop(stack).toTensor();
    stack.emplace_back(Run(q, k, v, mask, scale));
  };
}

bool Fits(const Node* node) {
  if (KindOf(node) != "aten::scaled_dot_product_attention" || node->inputs().size() != 8) return false;
  const std::optional<c10::IValue> dropout = torch::jit::toIValue(node->inputs()[4]);
  const auto causal = Constant<bool>(node->inputs()[5]);
  const auto grouped = Constant<bool>(node->inputs()[7]);
  return dropout && dropout->isDouble() && dropout->toDouble() == 0 && causal == false && grouped == false;
}

void Walk(torch::jit::Graph& graph, torch::jit::Block* block) {
  for (Node* node = *block->nodes().begin(); node != block->return_node();) {
    for (torch::jit::Block* inner : node->blocks()) Walk(graph, inner);
    Node* next = node->next();
    if (Fits(node)) {
      const torch::jit::WithInsertPoint point(node);
      const auto given = node->inputs();
      Node* own = graph.create(c10::Symbol::fromQualString(kOperator),
                               {given[0], given[1], given[2], given[3], given[6]}, 1);
      own->output()->setType(c10::TensorType::get());
      graph.insertNode(own);
      node->output()->replaceAllUsesWith(own->output());
      node->destroy();
    }
    node = next;
  }
}

}  // namespace

void UseOwnAttention(const std::shared_ptr<torch::jit::Graph>& graph) {
  if (BestCpuKernels() == nullptr) return;
  [[maybe_unused]] static const auto registered = OwnOperator(kOperator, MakeOperation);
  Walk(*graph, graph->block());
}

}  // namespace serve
