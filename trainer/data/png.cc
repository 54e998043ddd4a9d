#include "trainer/data/png.h"

#include <string_view>
#include <zlib.h>

namespace serve::trainer {
namespace {

void AppendNumber(std::string& text, std::size_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(number >> shift & 0xff);
}

void AppendChunk(std::string& png, std::string_view type, std::string_view content) {
  AppendNumber(png, content.size());
  const std::size_t begin = png.size();
  png += type;
  png += content;
  AppendNumber(png, crc32(0, reinterpret_cast<const Bytef*>(png.data() + begin),
                          static_cast<uInt>(png.size() - begin)));
}

}  // namespace

std::string GreyPng(const std::uint8_t* pixels, std::size_t height, std::size_t width) {
  std::string rows;
  for (std::size_t y = 0; y < height; ++y) {
    rows += '\0';  // no filter
    rows.append(reinterpret_cast<const char*>(pixels + y * width), width);
  }
  uLongf size = compressBound(rows.size());
  std::string packed(size, '\0');
  // Cannot fail: the room is what compressBound says.
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(rows.data()),
           rows.size());
  packed.resize(size);

  std::string head;
  AppendNumber(head, width);
  AppendNumber(head, height);
  head += std::string_view("\x08\0\0\0\0", 5);  // 8 bits, grey, not interlaced
  std::string png = "\x89PNG\r\n\x1a\n";
  AppendChunk(png, "IHDR", head);
  AppendChunk(png, "IDAT", packed);
  AppendChunk(png, "IEND", "");
  return png;
}

}  // namespace serve::trainer
