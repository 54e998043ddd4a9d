#include "serve/runtime/torchscript/winograd.h"

#include <algorithm>
#include <array>
#include <memory>
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
using torch::jit::Value;

constexpr const char* kOperator = "flambeau::winograd_conv2d";
/// What a thread works on at once: small enough for its caches, large enough to use the weights well.
constexpr std::int64_t kTilesOfBlock = 24;
constexpr std::int64_t kLine = 16;  // floats of a cache line

c10::Symbol Attribute(const char* name) { return c10::Symbol::attr(name); }

std::int64_t TilesAcross(std::int64_t outputs) { return (outputs + kWinogradTile - 1) / kWinogradTile; }

/// What one node computes. Shared by all threads that run the graph.
class Winograd {
 public:
  explicit Winograd(const Node* node)
      : weight_(node->t(Attribute("weight"))),
        bias_(node->t(Attribute("bias"))),
        padding_(node->is(Attribute("padding"))),
        relu_(node->i(Attribute("relu")) != 0),
        inputs_(weight_.size(1)),
        outputs_(weight_.size(0)),
        zeros_(static_cast<std::size_t>(std::max(inputs_, outputs_))) {
    const at::Tensor weight = weight_.to(at::kFloat).contiguous();
    for (std::int64_t point = 0; point < kWinogradPoints; ++point)
      points_.push_back(PackWinograd(kernels_, weight.const_data_ptr<float>(), inputs_, outputs_, point));
    if (bias_.numel() > 0) float_bias_ = bias_.to(at::kFloat).contiguous();
  }

  at::Tensor Run(const at::Tensor& input, const at::Tensor* other) const {
    if (!IsOrdinary(input)) return RunByLibtorch(input, other);
    if (input.scalar_type() == at::kFloat) return RunAs<float>(kernels_.winograd, input, other);
    return RunAs<std::uint16_t>(kernels_.winograd_bf16, input, other);
  }

 private:
  template <class Element>
  struct Call {
    const WinogradSteps<Element>& steps;
    const Element* x = nullptr;
    const Element* other = nullptr;
    Element* y = nullptr;
    const Element* zeros = nullptr;  // a pixel outside the picture
    std::int64_t height = 0, width = 0, out_height = 0, out_width = 0;
    std::int64_t down = 0, across = 0;  // tiles of a picture
  };

  template <class Element>
  at::Tensor RunAs(const WinogradSteps<Element>& steps, const at::Tensor& input,
                   const at::Tensor* other) const {
    Call<Element> call{.steps = steps};
    call.height = input.size(2);
    call.width = input.size(3);
    call.out_height = call.height + 2 * padding_[0] - 2;
    call.out_width = call.width + 2 * padding_[1] - 2;
    const std::array<std::int64_t, 4> shape{input.size(0), outputs_, call.out_height, call.out_width};
    if (call.out_height < 1 || call.out_width < 1) return RunByLibtorch(input, other);
    if (other != nullptr &&
        (other->sizes() != at::IntArrayRef(shape) || other->scalar_type() != input.scalar_type()))
      return RunByLibtorch(input, other);
    const at::Tensor dense = input.contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor added =
        other != nullptr ? other->contiguous(at::MemoryFormat::ChannelsLast) : at::Tensor();
    at::Tensor output = at::empty(shape, dense.options().memory_format(at::MemoryFormat::ChannelsLast));
    call.x = static_cast<const Element*>(dense.const_data_ptr());
    call.other = other != nullptr ? static_cast<const Element*>(added.const_data_ptr()) : nullptr;
    call.y = static_cast<Element*>(output.mutable_data_ptr());
    call.zeros = reinterpret_cast<const Element*>(zeros_.data());
    call.across = TilesAcross(call.out_width);
    call.down = TilesAcross(call.out_height);
    const std::int64_t tiles = shape[0] * call.down * call.across;
    // The same number of blocks for each thread.
    const std::int64_t threads = at::get_num_threads();
    const std::int64_t rounds = (tiles + threads * kTilesOfBlock - 1) / (threads * kTilesOfBlock);
    const std::int64_t blocks = std::min(tiles, rounds * threads);
    at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block)
        RunBlock(call, tiles * block / blocks, tiles * (block + 1) / blocks);
    });
    return output;
  }

  bool IsOrdinary(const at::Tensor& input) const {
    return input.scalar_type() == weight_.scalar_type() && input.is_cpu() && input.layout() == at::kStrided &&
           input.dim() == 4 && input.size(1) == inputs_ && input.numel() > 0;
  }

  /// Wrong shapes and types get libtorch's own message.
  at::Tensor RunByLibtorch(const at::Tensor& input, const at::Tensor* other) const {
    at::Tensor output = at::conv2d(input, weight_, bias_.numel() > 0 ? bias_ : at::Tensor(), 1, padding_);
    if (other != nullptr) output = at::add(output, *other);
    return relu_ ? at::relu(output) : output;
  }

  template <class Element>
  void RunBlock(const Call<Element>& call, std::int64_t begin, std::int64_t end) const {
    const std::int64_t tiles = end - begin;
    // A power of two from one point to the next would put all 36 into the same few lines of the cache.
    const std::int64_t step_in = tiles * inputs_ + kLine;
    const std::int64_t step_out = tiles * outputs_ + kLine;
    thread_local std::vector<float> room;
    const auto wanted = static_cast<std::size_t>(kWinogradPoints * (step_in + step_out));
    if (room.size() < wanted) room.resize(wanted);
    float* points = room.data();
    float* sums = points + kWinogradPoints * step_in;
    for (std::int64_t i = 0; i < tiles; ++i) ReadTile(call, begin + i, points + i * inputs_, step_in);
    for (std::int64_t point = 0; point < kWinogradPoints; ++point) {
      kernels_.run_dense(points_[static_cast<std::size_t>(point)].view(), points + point * step_in, tiles,
                         sums + point * step_out);
    }
    for (std::int64_t i = 0; i < tiles; ++i) WriteTile(call, begin + i, sums + i * outputs_, step_out);
  }

  template <class Element>
  void ReadTile(const Call<Element>& call, std::int64_t tile, float* to, std::int64_t step) const {
    const std::int64_t picture = tile / (call.down * call.across);
    const std::int64_t top = tile / call.across % call.down * kWinogradTile - padding_[0];
    const std::int64_t left = tile % call.across * kWinogradTile - padding_[1];
    std::array<const Element*, kWinogradPoints> pixels;
    for (std::int64_t row = 0; row < kWinogradPatch; ++row) {
      for (std::int64_t column = 0; column < kWinogradPatch; ++column) {
        const std::int64_t y = top + row;
        const std::int64_t x = left + column;
        const bool inside = y >= 0 && y < call.height && x >= 0 && x < call.width;
        pixels[static_cast<std::size_t>(row * kWinogradPatch + column)] =
            inside ? call.x + ((picture * call.height + y) * call.width + x) * inputs_ : call.zeros;
      }
    }
    call.steps.transform_input(pixels.data(), inputs_, to, step);
  }

  template <class Element>
  void WriteTile(const Call<Element>& call, std::int64_t tile, const float* from, std::int64_t step) const {
    const std::int64_t picture = tile / (call.down * call.across);
    const std::int64_t top = tile / call.across % call.down * kWinogradTile;
    const std::int64_t left = tile % call.across * kWinogradTile;
    std::array<const Element*, kWinogradTile * kWinogradTile> other{};
    std::array<Element*, kWinogradTile * kWinogradTile> to{};
    for (std::int64_t row = 0; row < std::min(kWinogradTile, call.out_height - top); ++row) {
      for (std::int64_t column = 0; column < std::min(kWinogradTile, call.out_width - left); ++column) {
        const std::int64_t pixel = (picture * call.out_height + top + row) * call.out_width + left + column;
        const auto place = static_cast<std::size_t>(row * kWinogradTile + column);
        to[place] = call.y + pixel * outputs_;
        if (call.other != nullptr) other[place] = call.other + pixel * outputs_;
      }
    }
    const float* bias = float_bias_.defined() ? float_bias_.const_data_ptr<float>() : zeros_.data();
    call.steps.transform_output(from, step, outputs_, bias, other.data(), to.data(), relu_);
  }

  const CpuKernels& kernels_ = *BestCpuKernels();
  const at::Tensor weight_;
  const at::Tensor bias_;  // empty: none
  at::Tensor float_bias_;  // undefined: none
  const std::vector<std::int64_t> padding_;
  const bool relu_;
  const std::int64_t inputs_;
  const std::int64_t outputs_;
  const std::vector<float> zeros_;  // a pixel outside the picture in any type, and no bias
  std::vector<DenseLayer> points_;
};

torch::jit::Operation MakeOperation(const Node* node) {
  return [winograd = std::make_shared<const Winograd>(node)](torch::jit::Stack& stack) {
    const c10::IValue other = torch::jit::pop(stack);
    at::Tensor output =
        winograd->Run(stack.back().toTensor(), other.isTensor() ? &other.toTensor() : nullptr);
    stack.back() = std::move(output);
  };
}

}  // namespace

bool FitsWinograd(const at::Tensor& weight) {
  const CpuKernels* kernels = BestCpuKernels();
  return kernels != nullptr && weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3 &&
         (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16) && weight.is_cpu() &&
         weight.layout() == at::kStrided && weight.size(0) % kernels->lanes == 0 &&
         weight.size(1) % kernels->lanes == 0 && weight.size(0) * weight.size(1) <= kMostWinogradWeights;
}

Node* MakeWinograd(torch::jit::Graph& graph, Value* input, Value* other, const at::Tensor& weight,
                   const at::Tensor& bias, at::IntArrayRef padding, bool relu) {
  [[maybe_unused]] static const auto registered = OwnOperator(kOperator, MakeOperation);
  if (other == nullptr) other = graph.insertConstant(c10::IValue());
  Node* node = graph.create(c10::Symbol::fromQualString(kOperator), {input, other}, 1);
  node->t_(Attribute("weight"), weight);
  node->t_(Attribute("bias"), bias.defined() ? bias : at::empty({0}, weight.options()));
  node->is_(Attribute("padding"), padding.vec());
  node->i_(Attribute("relu"), relu ? 1 : 0);
  node->output()->setType(c10::TensorType::get());
  return node;
}

}  // namespace serve
