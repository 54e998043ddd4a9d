#pragma once

#include <memory>

#include <torch/csrc/jit/ir/ir.h>

namespace serve {

/// Rewrites the graph of a frozen module: its large linears and 2-d convolutions become oneDNN operators
/// whose constant weights lie in oneDNN's layout already, with the activation or the addition of another
/// tensor that follows. Unlike what optimize_for_inference and oneDNN Graph make, such a graph takes any
/// shape without compiling anew, and all workers share the packed weights.
///
/// Small linears and attention run by our own kernels (dense_layers.h, attention.h) and, where `winograd`
/// says so, 3x3 convolutions by Winograd's algorithm (winograd.h): with a fourth of the multiplications, and
/// sums that differ a little more from those of the module.
///
/// Must happen before the graph runs for the first time. What cannot be packed stays as it is. Throws
/// c10::Error where libtorch was built without oneDNN.
void PackWeights(const std::shared_ptr<torch::jit::Graph>& graph, bool winograd);

}  // namespace serve
