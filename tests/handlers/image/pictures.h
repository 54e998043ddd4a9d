#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace serve {

/// Pictures for tests, encoded with the libraries that decode them.

/// One row of a PNG as it is stored: `bits` a sample, big-endian; `palette` of RGB triples, with alphas.
struct PngForm {
  int color_type = 0;  // PNG_COLOR_TYPE_…
  int bits = 8;
  bool interlaced = false;
  std::vector<std::uint8_t> palette = {};
  std::vector<std::uint8_t> alphas = {};
};
/// `rows` one behind the other, packed.
std::string MakePng(int width, int height, const PngForm& form, const std::vector<std::uint8_t>& rows);

/// A picture of one colour, quality 100; 1, 3 or 4 components (grey, RGB, CMYK as Adobe inverts it).
std::string MakeJpeg(int width, int height, const std::vector<std::uint8_t>& color, bool progressive = false);

/// Lossless, RGB or RGBA.
std::string MakeWebp(int width, int height, const std::vector<std::uint8_t>& pixels, bool alpha = false);

/// Standard base64 with padding.
std::string ToBase64(const std::string& bytes);

}  // namespace serve
