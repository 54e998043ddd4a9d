#pragma once

#include <optional>
#include <string_view>

#include "serve/base/tensor_spec.h"
#include "serve/request/request.h"

namespace serve {

/// Reads the body that small models get most, `[0.5, 1, …]` nested as the one input declares it (one row, or
/// an array of rows), in one pass and without an index of the text, with half the instructions of JsonReader.
/// Takes float32 of a static shape with at least one dimension.
///
/// `text`:  a zero byte follows it, as it does in a Buffer.
/// Returns: the tensor `[rows, shape…]`, to the bit as JsonReader reads it; nothing when the body or the
///          declaration is another, or wrong in any way: then JsonReader reads it, or says what is wrong.
/// Threads: any.
std::optional<Sample> ReadPlainNumbers(std::string_view text, const TensorSpec& spec);

}  // namespace serve
