#include "handlers/image/picture.h"

#include <new>
#include <optional>

#include <fmt/format.h>

#include "handlers/image/codecs.h"
#include "handlers/tensor/json_source.h"  // Excerpt

namespace serve {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kPngBegin = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kJpegBegin = "\xff\xd8\xff";

bool IsWebp(std::string_view bytes) {
  return bytes.size() >= 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP";
}

std::optional<PictureFormat> FormatOf(std::string_view bytes) {
  if (bytes.starts_with(kJpegBegin)) return PictureFormat::kJpeg;
  if (bytes.starts_with(kPngBegin)) return PictureFormat::kPng;
  if (IsWebp(bytes)) return PictureFormat::kWebp;
  return std::nullopt;
}

/// Formats that people send and that are not read here; empty when it is none of them.
std::string_view OtherFormat(std::string_view bytes) {
  if (bytes.starts_with("GIF8")) return "a GIF";
  if (bytes.starts_with("BM")) return "a BMP";
  if (bytes.starts_with("II*\0"sv) || bytes.starts_with("MM\0*"sv)) return "a TIFF";
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") return "a HEIC, AVIF or video";
  if (bytes.starts_with("<svg") || bytes.starts_with("<?xml")) return "an SVG or XML";
  if (bytes.starts_with("%PDF")) return "a PDF";
  return {};
}

std::uint32_t Byte(std::string_view bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }
std::uint32_t Big16(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at) << 8 | Byte(bytes, at + 1);
}
std::uint32_t Big32(std::string_view bytes, std::size_t at) {
  return Big16(bytes, at) << 16 | Big16(bytes, at + 2);
}
std::uint32_t Little24(std::string_view bytes, std::size_t at) {
  return Byte(bytes, at) | Byte(bytes, at + 1) << 8 | Byte(bytes, at + 2) << 16;
}

Status Cut(PictureFormat format) {
  return BadPicture(format, "the data ends before the size of the picture");
}

/// Walks over the segments up to the frame header, which holds the size.
Result<PictureHeader> JpegHeader(std::string_view bytes) {
  std::size_t at = 2;
  while (at + 4 <= bytes.size()) {
    if (Byte(bytes, at) != 0xff) {
      return BadPicture(PictureFormat::kJpeg, fmt::format("expected a marker at byte {}", at));
    }
    const std::uint32_t marker = Byte(bytes, at + 1);
    if (marker == 0xff) {  // a fill byte
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) {  // markers that stand alone
      at += 2;
      continue;
    }
    if (marker == 0xd9 || marker == 0xda) {
      return BadPicture(PictureFormat::kJpeg, "no frame header before the data");
    }
    const std::size_t length = Big16(bytes, at + 2);
    const bool is_frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (length < (is_frame ? 8U : 2U)) {
      return BadPicture(PictureFormat::kJpeg, fmt::format("a segment at byte {} is too short", at));
    }
    if (is_frame) {
      if (at + 9 > bytes.size()) break;
      return PictureHeader{PictureFormat::kJpeg, Big16(bytes, at + 7), Big16(bytes, at + 5)};
    }
    at += 2 + length;
  }
  return Cut(PictureFormat::kJpeg);
}

Result<PictureHeader> PngHeader(std::string_view bytes) {
  if (bytes.size() < 24) return Cut(PictureFormat::kPng);
  if (bytes.substr(12, 4) != "IHDR") return BadPicture(PictureFormat::kPng, "the first chunk is not IHDR");
  const PictureHeader header{PictureFormat::kPng, Big32(bytes, 16), Big32(bytes, 20)};
  if (header.width > INT32_MAX || header.height > INT32_MAX) {
    return BadPicture(PictureFormat::kPng, "its size is out of range");
  }
  return header;
}

/// The first chunk says which of the three kinds it is; each has its size in another place.
Result<PictureHeader> WebpHeader(std::string_view bytes) {
  if (bytes.size() < 30) return Cut(PictureFormat::kWebp);
  const std::string_view kind = bytes.substr(12, 4);
  if (kind == "VP8X") {
    return PictureHeader{PictureFormat::kWebp, 1 + std::int64_t{Little24(bytes, 24)},
                         1 + std::int64_t{Little24(bytes, 27)}};
  }
  if (kind == "VP8L" && Byte(bytes, 20) == 0x2f) {
    const std::uint32_t bits = Little24(bytes, 21) | Byte(bytes, 24) << 24;
    return PictureHeader{PictureFormat::kWebp, 1 + std::int64_t{bits & 0x3fff},
                         1 + std::int64_t{bits >> 14 & 0x3fff}};
  }
  if (kind == "VP8 " && bytes.substr(23, 3) == "\x9d\x01\x2a") {
    return PictureHeader{PictureFormat::kWebp, Little24(bytes, 26) & 0x3fff, Little24(bytes, 28) & 0x3fff};
  }
  return BadPicture(PictureFormat::kWebp, "no picture in the first chunk");
}

}  // namespace

std::string_view FormatName(PictureFormat format) {
  switch (format) {
    case PictureFormat::kJpeg:
      return "JPEG";
    case PictureFormat::kPng:
      return "PNG";
    case PictureFormat::kWebp:
      break;
  }
  return "WebP";
}

Status BadPicture(PictureFormat format, std::string_view reason) {
  return InvalidArgument(
      fmt::format("cannot decode the {} picture: {}", FormatName(format), Excerpt(reason, 120)));
}

bool LooksLikePicture(std::string_view bytes) { return FormatOf(bytes).has_value(); }

Result<PictureHeader> ReadPictureHeader(std::string_view bytes) {
  const std::optional<PictureFormat> format = FormatOf(bytes);
  if (!format) {
    const std::string_view other = OtherFormat(bytes);
    return InvalidArgument(other.empty()
                               ? "the data is no picture that can be read: send JPEG, PNG or WebP"
                               : fmt::format("{} picture cannot be read: send JPEG, PNG or WebP", other));
  }
  Result<PictureHeader> header = *format == PictureFormat::kJpeg  ? JpegHeader(bytes)
                                 : *format == PictureFormat::kPng ? PngHeader(bytes)
                                                                  : WebpHeader(bytes);
  if (header && (header->width == 0 || header->height == 0)) {
    return BadPicture(*format, fmt::format("its size is {} x {}", header->width, header->height));
  }
  return header;
}

Result<Picture> DecodePicture(std::string_view bytes, const PictureHeader& header) try {
  Picture picture;
  picture.width = header.width;
  picture.height = header.height;
  picture.rgb = Buffer(static_cast<std::size_t>(header.pixels()) * 3);
  const Status status = header.format == PictureFormat::kJpeg  ? DecodeJpeg(bytes, picture)
                        : header.format == PictureFormat::kPng ? DecodePng(bytes, picture)
                                                               : DecodeWebp(bytes, picture);
  if (!status.ok()) return status;
  return picture;
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, fmt::format("not enough memory for a picture of {} x {} pixels",
                                                      header.width, header.height)};
}

}  // namespace serve
