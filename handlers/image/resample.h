#pragma once

#include <cstdint>
#include <vector>

#include "handlers/image/picture.h"

namespace serve {

/// One dimension of a resize: which part of the enlarged or reduced picture is wanted.
struct ResizedSpan {
  std::int64_t size = 0;   // of the whole resized picture
  std::int64_t first = 0;  // of what is wanted of it
  std::int64_t count = 0;
};

/// Resizes to `columns.size` × `rows.size` and cuts out the wanted part: [rows.count, columns.count, 3].
/// What is outside of the part is never computed, so an extreme shape costs no memory.
///
/// Bilinear with the width of the triangle following the scale (antialiased), columns first, then rows, each
/// rounded to 8 bits with weights of 22 bits: bit for bit what Pillow's Image.resize(..., BILINEAR) gives.
///
/// Memory:  what the columns give: the source rows that are needed × columns.count × 3 bytes.
/// Errors:  std::bad_alloc.
/// Source:  Pillow's resampling, with the fixed-point form that it uses for 8-bit pictures.
std::vector<std::uint8_t> Resample(const Picture& picture, const ResizedSpan& columns,
                                   const ResizedSpan& rows);

}  // namespace serve
