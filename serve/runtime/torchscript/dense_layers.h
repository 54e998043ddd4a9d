#pragma once

#include <cstdint>
#include <memory>

#include <torch/csrc/jit/ir/ir.h>

namespace serve {

/// Linears with at most so many weights run by our own kernel (cpu_kernels.h): they stay in the L2 cache, and
/// a call costs next to nothing, where one of a oneDNN operator takes some 15 µs and one of MKL 5. Larger
/// ones are worth that.
inline constexpr std::int64_t kMostDenseWeights = 131'072;

/// Rewrites the graph of a frozen module: small float32 linears with constant weights, the ReLU behind each
/// and what of this follows one upon the other become one operator, `flambeau::dense_layers`. Does nothing
/// on a CPU without a kernel.
void UseDenseLayers(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace serve
