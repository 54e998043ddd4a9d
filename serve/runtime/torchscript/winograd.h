#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

namespace serve {

/// Larger ones would take four times the memory and be read from it for every batch.
inline constexpr std::int64_t kMostWinogradWeights = 256 * 256;  // inputs times outputs

/// Whether a 3x3 convolution with stride 1 and these weights, float32 or bfloat16, can run by Winograd's
/// algorithm here. What is multiplied and summed is float32 in both.
bool FitsWinograd(const at::Tensor& weight);

/// `flambeau::winograd_conv2d`, not yet inserted: a convolution with stride 1, zeros around the picture, then
/// `other` (nullptr: none) added, then a ReLU. `bias` may be undefined.
torch::jit::Node* MakeWinograd(torch::jit::Graph& graph, torch::jit::Value* input, torch::jit::Value* other,
                               const at::Tensor& weight, const at::Tensor& bias, at::IntArrayRef padding,
                               bool relu);

}  // namespace serve
