#include "serve/config/properties.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::string_view kBlanks = " \t\f";

struct LogicalLine {
  std::string text;  // continuations joined, escapes untouched
  int number = 0;
};

std::string_view SkipBlanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

bool EndsInOddBackslashes(std::string_view text) {
  const std::size_t last_other = text.find_last_not_of('\\');
  return (text.size() - 1 - last_other) % 2 == 1;  // npos + 1 is 0
}

std::vector<LogicalLine> JoinLines(std::string_view text) {
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // byte order mark
  std::vector<LogicalLine> lines;
  bool continues = false;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    line = SkipBlanks(line);
    if (!continues) {
      if (line.empty() || line.front() == '#' || line.front() == '!') continue;
      lines.push_back({"", number});
    }
    continues = EndsInOddBackslashes(line);
    if (continues) line.remove_suffix(1);
    lines.back().text += line;
  }
  return lines;
}

std::optional<std::uint32_t> HexUnit(std::string_view text) {
  std::uint32_t unit = 0;
  if (text.size() < 4) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + 4, unit, 16);
  if (error != std::errc() || end != text.data() + 4) return std::nullopt;
  return unit;
}

void AppendUtf8(std::string& out, std::uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  constexpr std::uint32_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | (point >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((point >> (6 * i)) & 0x3F));
}

/// Empty: done; else what is wrong.
std::string Unescape(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char escaped = text[++i];
    if (escaped != 'u') {
      constexpr std::string_view kLetters = "tnrf";
      const std::size_t letter = kLetters.find(escaped);
      out += letter == std::string_view::npos ? escaped : "\t\n\r\f"[letter];
      continue;
    }
    std::optional<std::uint32_t> point = HexUnit(text.substr(i + 1));
    if (point) i += 4;
    if (point && *point >= 0xD800 && *point < 0xDC00 && text.substr(i + 1, 2) == "\\u") {
      const std::optional<std::uint32_t> low = HexUnit(text.substr(i + 3));
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        point = 0x10000 + ((*point - 0xD800) << 10) + (*low - 0xDC00);
        i += 6;
      }
    }
    if (!point)
      return "\\u is not followed by four hexadecimal digits (a backslash of a path is written \\\\)";
    if (*point >= 0xD800 && *point < 0xE000) return "half of a surrogate pair stands alone";
    AppendUtf8(out, *point);
  }
  return {};
}

/// Where the key ends: at the first '=', ':' or blank that no backslash precedes.
std::size_t KeyEnd(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\') {
      ++i;
    } else if (line[i] == '=' || line[i] == ':' || kBlanks.find(line[i]) != std::string_view::npos) {
      return i;
    }
  }
  return line.size();
}

}  // namespace

Properties ParseProperties(std::string_view text) {
  Properties properties;
  for (const LogicalLine& line : JoinLines(text)) {
    const std::string_view whole = line.text;
    const std::size_t key_end = KeyEnd(whole);
    std::string_view value = SkipBlanks(whole.substr(key_end));
    if (!value.empty() && (value.front() == '=' || value.front() == ':')) value = SkipBlanks(value.substr(1));
    value = value.substr(0, value.find_last_not_of(kBlanks) + 1);

    Property property;
    property.line = line.number;
    std::string wrong = Unescape(whole.substr(0, key_end), property.key);
    if (wrong.empty()) wrong = Unescape(value, property.value);
    if (wrong.empty() && property.key.empty()) wrong = "there is no key before the '='";
    if (wrong.empty()) {
      properties.entries.push_back(std::move(property));
    } else {
      properties.errors.push_back({line.number, std::move(wrong)});
    }
  }
  return properties;
}

}  // namespace serve
