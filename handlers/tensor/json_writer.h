#pragma once

#include <string>
#include <string_view>

#include "serve/request/request.h"

namespace serve {

/// Writes tensors as compact JSON; the forms are those of tensor_handler.h. Shortest numbers that read back
/// the same; a whole float keeps its `.0`; NaN and infinities are `null`.
///
/// `names` may be empty (unnamed) or shorter than the tensors (then unnamed too).
/// Errors:  kPredictionFailed when `hint` asks for rows and a tensor has no dimension 0.
Result<std::string> WriteJson(const Output& output, const RenderHint& hint);

/// The same as an answer. Errors: also kResourceExhausted.
Result<Response> RenderJson(const Output& output, const RenderHint& hint);

/// All numbers of `tensor`, with commas between them.
void AppendFlat(std::string& text, const Tensor& tensor);
/// `text` (UTF-8) as a JSON string with its quotes.
void AppendQuoted(std::string& text, std::string_view value);

}  // namespace serve
