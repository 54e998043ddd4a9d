#pragma once

#include <cstdint>
#include <vector>

#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/request/tensor.h"

namespace serve {

/// Compares a batch with what the model is declared to take: number of inputs, types, ranks, every declared
/// size, and as many rows (dimension 0) in each input, at least 1 and at most `batch.max`. Tells the number
/// of rows. Errors: kInvalidArgument that names the input, what is declared and what was found.
Result<std::int64_t> CheckInputs(const std::vector<Tensor>& inputs, const std::vector<TensorSpec>& declared,
                                 const BatchRange& batch);

}  // namespace serve
