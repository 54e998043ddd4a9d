#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace serve::trainer {

/// Pictures of 12 × 12 points for tests: the class says which quarter is bright.
inline constexpr std::size_t kSide = 12;
inline std::vector<std::uint8_t> QuarterPicture(std::size_t label, std::size_t variation) {
  std::vector<std::uint8_t> pixels(kSide * kSide);
  for (std::size_t y = 0; y < kSide; ++y) {
    for (std::size_t x = 0; x < kSide; ++x) {
      const bool bright = (y >= kSide / 2) == (label / 2 == 1) && (x >= kSide / 2) == (label % 2 == 1);
      pixels[y * kSide + x] =
          static_cast<std::uint8_t>((bright ? 180 : 10) + (x * 7 + y * 13 + variation * 29) % 60);
    }
  }
  return pixels;
}

inline std::string BigEndian(std::size_t number) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(number >> shift & 0xff);
  return text;
}

/// Writes `<set>-images-idx3-ubyte` and `<set>-labels-idx1-ubyte` with `count` pictures of the classes 0 to 3
/// in turn.
inline void WriteIdxSet(const std::filesystem::path& folder, const std::string& set, std::size_t count,
                        std::size_t variation) {
  std::string images = BigEndian(0x0803) + BigEndian(count) + BigEndian(kSide) + BigEndian(kSide);
  std::string labels = BigEndian(0x0801) + BigEndian(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::vector<std::uint8_t> picture = QuarterPicture(i % 4, variation + i);
    images.append(picture.begin(), picture.end());
    labels += static_cast<char>(i % 4);
  }
  std::ofstream(folder / (set + "-images-idx3-ubyte"), std::ios::binary) << images;
  std::ofstream(folder / (set + "-labels-idx1-ubyte"), std::ios::binary) << labels;
}

}  // namespace serve::trainer
