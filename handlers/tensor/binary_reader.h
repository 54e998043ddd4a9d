#pragma once

#include <vector>

#include "serve/base/tensor_spec.h"
#include "serve/request/request.h"

namespace serve {

/// Reads raw little-endian bytes as the only declared input. With a static row shape the size must be a
/// multiple of a row (several rows); with one free dimension the body is one row and the size gives the
/// dimension.
///
/// Memory:  a body that is the whole request (Request::body_is_part) becomes the tensor's memory; a form part
/// is copied. Errors:  kInvalidArgument: the sizes expected and seen; no declaration; several inputs or free
/// dimensions; a bool
///          that is neither 0 nor 1.
Result<Sample> ReadBinarySample(Request request, const RequestPart& part,
                                const std::vector<TensorSpec>& specs);

/// elements × bytes of one element, free dimensions counted as `free_size`; false when that does not fit in
/// 62 bits.
bool RowBytes(const TensorSpec& spec, std::size_t free_size, std::size_t& bytes);

}  // namespace serve
