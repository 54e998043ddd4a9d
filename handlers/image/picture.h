#pragma once

#include <cstdint>
#include <string_view>

#include "serve/base/buffer.h"
#include "serve/base/status.h"

namespace serve {

enum class PictureFormat : std::uint8_t { kJpeg, kPng, kWebp };

/// What the first bytes of a picture say.
struct PictureHeader {
  PictureFormat format = PictureFormat::kJpeg;
  std::int64_t width = 0;
  std::int64_t height = 0;

  [[nodiscard]] std::int64_t pixels() const { return width * height; }
};

/// Rows of 8-bit R, G, B from the top, without gaps.
struct Picture {
  std::int64_t width = 0;
  std::int64_t height = 0;
  Buffer rgb;  // [height, width, 3]
};

/// "JPEG", "PNG", "WebP".
std::string_view FormatName(PictureFormat format);

/// Whether `bytes` begin as one of the formats does.
bool LooksLikePicture(std::string_view bytes);

/// Reads format and size and nothing else: no pixel is decoded, no memory taken; cheap enough for an I/O
/// thread. Errors: kInvalidArgument: another format (named where it is known), or a header that is cut or
/// damaged.
Result<PictureHeader> ReadPictureHeader(std::string_view bytes);

/// Decodes the whole picture to RGB, as Pillow's convert("RGB") does: grey is repeated, a palette looked up,
/// alpha dropped, of 16 bits the upper 8 are kept, CMYK is taken as Adobe's inverted one. Not turned by EXIF,
/// no colour management.
///
/// `header` is what ReadPictureHeader gave for the same bytes; the decoder refuses to find anything else.
/// Memory:  width × height × 3 bytes, besides what the codec needs (a progressive JPEG: its coefficients).
/// Errors:  kInvalidArgument: damaged, cut off, or a kind that is not read (animated WebP).
///          kResourceExhausted: no memory.
/// Threads: any; slow: a megapixel takes some milliseconds.
/// Source:  libjpeg-turbo, libpng, libwebp.
Result<Picture> DecodePicture(std::string_view bytes, const PictureHeader& header);

}  // namespace serve
