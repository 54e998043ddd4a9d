#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace serve {

inline constexpr std::string_view kHexDigits = "0123456789abcdef";

/// Lower-case digits alone; also of no text at all.
constexpr bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// Two digits; gives where they end.
constexpr char* PutHex(char* at, unsigned char byte) {
  *at++ = kHexDigits[byte >> 4];
  *at++ = kHexDigits[byte & 15];
  return at;
}

/// Sixteen digits.
constexpr char* PutHex(char* at, std::uint64_t number) {
  for (int shift = 56; shift >= 0; shift -= 8) at = PutHex(at, static_cast<unsigned char>(number >> shift));
  return at;
}

inline std::string Hex(std::string_view bytes) {
  std::string text(2 * bytes.size(), '\0');
  char* at = text.data();
  for (const char byte : bytes) at = PutHex(at, static_cast<unsigned char>(byte));
  return text;
}

}  // namespace serve
