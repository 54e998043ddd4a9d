#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/request/request.h"

namespace serve {

/// What one request may bring.
struct ImageLimits {
  std::int64_t max_pixels = 89'478'485;  // of all pictures of a request together; 0: no limit
  std::size_t max_pictures = 128;
};

/// Finds the pictures of a request, and checks what their headers say; nothing is decoded.
///
/// Picture: a raw body, or a form's field or part named `data` (else `body`), told by its first bytes,
/// whatever
///          its type says.
/// Base64:  the same places as text, also behind `data:image/png;base64,`.
/// JSON:    "BASE64"                                  one picture
///          {"data": "BASE64"} or {"body": ...}       one; {"b64": ...} too
///          ["BASE64", {"data": "BASE64"}]            several, answered as a list
///          {"instances": [...]}                      several, answered as {"predictions": [...]}
///          [[[0.1, ...]]]                            a tensor [channels][height][width], used as it is;
///          several
///                                                    one level deeper, by the name `data`, or as instances
///
/// Gives a sample whose inputs are one uint8 tensor of encoded bytes for each picture, or one float32 tensor
/// [rows, channels, height, width]. A raw body's memory is taken over, not copied.
/// Memory:  no more than the body, whatever size a header claims.
/// Errors:  kInvalidArgument with the place: `instances[2].data: ...`; too many pixels: the size and the
/// limit. Threads: any; each keeps a JSON parser of at most a few MiB.
Result<Sample> ReadImages(Request request, const ImageLimits& limits, const TensorSpec& tensor);

/// Whether Decode still has to make tensors of it.
inline bool IsEncoded(const Sample& sample) {
  return !sample.inputs.empty() && sample.inputs.front().dtype == DType::kUInt8;
}

}  // namespace serve
