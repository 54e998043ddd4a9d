#pragma once

#include <string>

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include "serve/base/status.h"
#include "serve/request/tensor.h"
#include "serve/runtime/runtime.h"

namespace serve {

// Our tensors as libtorch's and back; nothing is copied unless an output is not contiguous.

c10::ScalarType ToTorch(DType dtype);

/// A view of `tensor`, whose memory it keeps alive.
at::Tensor Borrow(const Tensor& tensor);

/// What a module answered: a tensor, a tuple or list of tensors, or a dictionary of text → tensor.
/// Errors: kPredictionFailed that says what it answered instead.
Result<RunOutputs> Unpack(const c10::IValue& value);

/// Threads that libtorch may use inside an operator that the calling thread runs.
void UseThreads(int threads);

/// kPredictionFailed with "Prediction failed: " before the message.
Status Failed(std::string message);

}  // namespace serve
