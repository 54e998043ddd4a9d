#pragma once

#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/infer.h"

namespace serve {

inline constexpr std::size_t kMaxInferInputs = 256;  // of one request; so many outputs may be asked for

/// Reads the JSON body of a KServe v2 inference request.
///
///   {"id": "7", "inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [...]}],
///    "outputs": [{"name": "y"}]}
///
/// `data` is flat, or nested in any even way that holds as many elements as the shape says. Members in any
/// order; unknown ones are ignored. A number must fit its datatype, as in tensor_handler.h. Integers are read
/// as integers (no loss above 2^53).
///
/// Memory:  `text` needs Buffer::kPadding readable bytes behind it. Never more than the text can hold
/// elements. Errors:  kInvalidArgument with the place: `inputs[0].data[5]: expected a number, found a
/// string`. Threads: any; each keeps a JSON parser of at most a few MiB.
Result<InferRequest> ReadInferRequest(std::string_view text);

/// Brings the inputs into the order of `declared` and checks names, datatypes and shapes against it; with
/// none declared only that all have the same number of rows, at least one.
Status CheckInferInputs(const std::vector<InferSpec>& declared, std::vector<InferTensor>& inputs);
/// Whether the outputs that were asked for exist; none declared: cannot tell.
Status CheckInferOutputs(const std::vector<InferSpec>& declared, const std::vector<std::string>& asked);

}  // namespace serve
