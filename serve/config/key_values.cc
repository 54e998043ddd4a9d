#include "serve/config/key_values.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <system_error>
#include <utility>

namespace serve {
namespace {

std::string_view Trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::string> Decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char byte = text[i];
    if (byte == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      unsigned value = 0;
      const char* digits = text.data() + i + 1;
      const auto [read, error] = std::from_chars(digits, digits + 2, value, 16);
      if (error != std::errc() || read != digits + 2) return std::nullopt;
      byte = static_cast<char>(value);
      i += 2;
    }
    if (static_cast<unsigned char>(byte) < ' ') return std::nullopt;
    out += byte;
  }
  return out;
}

}  // namespace

std::optional<KeyValues> ParseKeyValues(std::string_view text) {
  KeyValues pairs;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    if (Trim(item).empty()) continue;
    const std::size_t equals = item.find('=');
    const std::string_view key = Trim(item.substr(0, equals));
    if (equals == std::string_view::npos || key.empty()) return std::nullopt;
    std::optional<std::string> value = Decode(Trim(item.substr(equals + 1)));
    if (!value) return std::nullopt;
    pairs.emplace_back(key, std::move(*value));
  }
  return pairs;
}

}  // namespace serve
