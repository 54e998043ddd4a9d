#include "handlers/image/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

#include "serve/base/buffer.h"

namespace serve {
namespace {

constexpr std::uint8_t kNone = 0xff;
constexpr std::uint8_t kBlank = 0xfe;

constexpr std::array<std::uint8_t, 256> kValues = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(kNone);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  table['-'] = 62;
  table['_'] = 63;
  for (const char blank : {' ', '\t', '\r', '\n'}) table[static_cast<unsigned char>(blank)] = kBlank;
  return table;
}();

std::uint8_t ValueOf(char c) { return kValues[static_cast<unsigned char>(c)]; }

/// Behind `data:...;base64,`, if the text begins so.
std::string_view WithoutDataUrl(std::string_view text) {
  if (!text.starts_with("data:")) return text;
  const std::size_t comma = text.substr(0, 200).find(',');
  return comma == std::string_view::npos ? text : text.substr(comma + 1);
}

}  // namespace

Result<DecodedBytes> DecodeBase64(std::string_view text) {
  text = WithoutDataUrl(text);
  Buffer buffer(text.size() / 4 * 3 + 3);
  auto* to = reinterpret_cast<std::uint8_t*>(buffer.data());
  const auto* const begin = to;
  std::size_t at = 0;
  std::uint32_t group = 0;
  int count = 0;
  while (at < text.size()) {
    // Four at once, as long as nothing but the alphabet comes.
    while (count == 0 && at + 4 <= text.size()) {
      const std::uint8_t a = ValueOf(text[at]);
      const std::uint8_t b = ValueOf(text[at + 1]);
      const std::uint8_t c = ValueOf(text[at + 2]);
      const std::uint8_t d = ValueOf(text[at + 3]);
      if (((a | b | c | d) & 0xc0) != 0) break;
      const std::uint32_t bits =
          std::uint32_t{a} << 18 | std::uint32_t{b} << 12 | std::uint32_t{c} << 6 | std::uint32_t{d};
      to[0] = static_cast<std::uint8_t>(bits >> 16);
      to[1] = static_cast<std::uint8_t>(bits >> 8);
      to[2] = static_cast<std::uint8_t>(bits);
      to += 3;
      at += 4;
    }
    if (at == text.size()) break;
    const std::uint8_t value = ValueOf(text[at]);
    if (value == kBlank) {
      ++at;
      continue;
    }
    if (text[at] == '=') break;
    if (value == kNone) {
      return InvalidArgument(fmt::format("invalid base64: character {} is not of its alphabet", at));
    }
    group = group << 6 | value;
    ++at;
    if (++count == 4) {
      for (int shift = 16; shift >= 0; shift -= 8) *to++ = static_cast<std::uint8_t>(group >> shift);
      group = 0;
      count = 0;
    }
  }
  if (at < text.size() && text.find_first_not_of("= \t\r\n", at) != std::string_view::npos) {
    return InvalidArgument(fmt::format("invalid base64: text follows the padding at character {}", at));
  }
  if (count == 1) return InvalidArgument("invalid base64: the text is cut off");
  if (count == 2) *to++ = static_cast<std::uint8_t>(group >> 4);
  if (count == 3) {
    *to++ = static_cast<std::uint8_t>(group >> 10);
    *to++ = static_cast<std::uint8_t>(group >> 2);
  }
  const auto size = static_cast<std::size_t>(to - begin);
  return DecodedBytes{std::move(buffer).Release(), size};
}

bool LooksLikeBase64(std::string_view text) {
  text = WithoutDataUrl(text).substr(0, 64);
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return ValueOf(c) != kNone || c == '='; });
}

}  // namespace serve
