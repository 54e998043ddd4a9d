#pragma once

#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/request/request.h"

namespace serve {

/// Reads a JSON body into one tensor for each of `specs` (one float32 tensor when there are none), in their
/// order, in one pass. The forms are those of tensor_handler.h. Sets inputs, rows and the two hints that
/// follow from the form.
///
/// Memory:  `text` needs Buffer::kPadding readable bytes behind it and is not changed.
/// Errors:  kInvalidArgument, as tensor_handler.h describes them.
/// Threads: any; each keeps a parser for reuse.
Result<Sample> ReadJsonSample(std::string_view text, const std::vector<TensorSpec>& specs);

/// Whether a body without a content type is taken for JSON: its first 32 bytes are printable ASCII or blanks.
bool LooksLikeText(std::string_view body);

}  // namespace serve
