#pragma once

#include <memory>

#include <torch/csrc/jit/ir/ir.h>

namespace serve {

/// Rewrites the graph of a frozen module: scaled dot product attention becomes `flambeau::attention`, whose
/// products and softmax run by our own kernels (cpu_kernels.h). libtorch's passes each head to a general
/// matrix product, which on many CPUs takes longer to prepare than to compute. Does nothing on a CPU without
/// kernels; calls with dropout, with fewer heads of keys than of queries, or causal ones stay.
void UseOwnAttention(const std::shared_ptr<torch::jit::Graph>& graph);

}  // namespace serve
