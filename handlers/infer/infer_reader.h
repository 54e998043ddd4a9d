#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/infer.h"
#include "serve/request/tensor.h"

namespace serve {

inline constexpr std::size_t kMaxInferInputs = 256;  // of one request; so many outputs may be asked for

/// The raw tensors behind the JSON of a request.
struct InferBytes {
  std::string_view bytes;
  std::shared_ptr<std::byte> owner;  // of that memory
};

/// Reads the JSON body of a KServe v2 inference request, and the tensors whose `binary_data_size` says that
/// they follow it in `raw` (the binary tensor data extension). Parameters of the request that are known:
/// binary_data_output, sequence_id, sequence_start, sequence_end.
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
Result<InferRequest> ReadInferRequest(std::string_view text, const InferBytes& raw = {});

/// The protocol's raw request: nothing but the bytes of the only declared input, as one row; at most one of
/// its other dimensions is of any size.
Result<InferRequest> ReadRawRequest(const std::vector<InferSpec>& declared, const InferBytes& raw);

/// Brings the inputs into the order of `declared` and checks names, datatypes and shapes against it; with
/// none declared only that all have the same number of rows, at least one.
Status CheckInferInputs(const std::vector<InferSpec>& declared, std::vector<InferTensor>& inputs);
/// Whether the outputs that were asked for exist; none declared: cannot tell.
Status CheckInferOutputs(const std::vector<InferSpec>& declared, const std::vector<InferOutputAsk>& asked);

}  // namespace serve
