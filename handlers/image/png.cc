#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <png.h>

#include "handlers/image/codecs.h"

namespace serve {
namespace {

/// Chunks with text and profiles are compressed on their own and say nothing about the pixels.
constexpr png_byte kSkippedChunks[] = "iCCP\0tEXt\0zTXt\0iTXt\0eXIf\0sPLT";
constexpr int kSkippedCount = 6;

struct Source {
  std::string_view rest;
  char text[160];
};

[[noreturn]] void Leave(png_structp png, png_const_charp text) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::snprintf(source->text, sizeof source->text, "%s", text);
  png_longjmp(png, 1);
}

void Read(png_structp png, png_bytep to, std::size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->rest.size()) png_error(png, "the data is cut off");
  std::memcpy(to, source->rest.data(), count);
  source->rest.remove_prefix(count);
}

}  // namespace

Status DecodePng(std::string_view bytes, Picture& picture) {
  Source source{bytes, {}};
  png_structp png =
      png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, Leave, [](png_structp, png_const_charp) {});
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    return {Code::kResourceExhausted, "not enough memory to decode a PNG picture"};
  }
  if (setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_read_struct(&png, &info, nullptr);
    return BadPicture(PictureFormat::kPng, source.text);
  }
  png_set_read_fn(png, &source, Read);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kSkippedChunks, kSkippedCount);
  png_read_info(png, info);
  if (png_get_image_width(png, info) != picture.width || png_get_image_height(png, info) != picture.height) {
    png_error(png, "it has two sizes");
  }
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  png_set_expand_gray_1_2_4_to_8(png);
  png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != static_cast<std::size_t>(picture.width) * 3) {
    png_error(png, "its pixels have an unknown form");
  }
  for (int pass = 0; pass < passes; ++pass) {
    auto* row = reinterpret_cast<png_bytep>(picture.rgb.data());
    for (std::int64_t y = 0; y < picture.height; ++y, row += picture.width * 3)
      png_read_row(png, row, nullptr);
  }
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return {};
}

}  // namespace serve
