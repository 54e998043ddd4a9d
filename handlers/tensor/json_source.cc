#include "handlers/tensor/json_source.h"

#include <fmt/format.h>

namespace serve {
namespace {

namespace sj = simdjson;

/// Where `text` may be cut so that at most `limit` bytes stay and no UTF-8 character is halved.
std::size_t CutAt(std::string_view text, std::size_t limit) {
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
  return end;
}

/// What a JSON token is, in words; empty when it is no JSON value.
std::string_view KindOf(std::string_view token) {
  switch (token.front()) {
    case '[':
      return "an array";
    case '{':
      return "an object";
    case '"':
      return "a string";
    case 't':
      return token == "true" ? "a boolean" : "";
    case 'f':
      return token == "false" ? "a boolean" : "";
    case 'n':
      return token == "null" ? "null" : "";
    default:
      return token.front() == '-' || (token.front() >= '0' && token.front() <= '9') ? "a number" : "";
  }
}

bool IsNotFinite(std::string_view token) {
  if (token.starts_with('-') || token.starts_with('+')) token.remove_prefix(1);
  return token == "NaN" || token == "nan" || token == "NAN" || token.starts_with("Inf") ||
         token.starts_with("inf");
}

}  // namespace

std::string Excerpt(std::string_view text, std::size_t limit) {
  std::string result(text.size() <= limit ? text : text.substr(0, CutAt(text, limit)));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (text.size() > limit) result += "...";
  return result;
}

Status BadInput(std::string_view message) { return InvalidArgument(Excerpt(message, kMaxErrorText - 3)); }

std::string_view JsonSource::TokenAt(std::size_t offset) const {
  const std::string_view rest = text.substr(offset);
  if (rest.empty() || std::string_view("[]{},:\"").find(rest.front()) != std::string_view::npos) {
    return rest.substr(0, 1);
  }
  return rest.substr(0, rest.find_first_of("[]{},:\" \t\r\n"));
}

std::size_t JsonSource::Offset() const {
  const char* at = nullptr;
  if (document.current_location().get(at) != sj::SUCCESS) return text.size();
  return std::min(static_cast<std::size_t>(at - text.data()), text.size());
}

Status JsonSource::Unexpected(std::size_t offset, std::string_view place, std::string_view expected) const {
  const std::string_view token = TokenAt(offset);
  if (token.empty()) {
    return BadInput(
        fmt::format("{}: invalid JSON: the text ends at byte {}, expected {}", place, offset, expected));
  }
  if (IsNotFinite(token)) {
    return BadInput(
        fmt::format("{}: {} is no JSON number; send a finite number, or the tensor as "
                    "application/octet-stream",
                    place, token));
  }
  const std::string_view kind = KindOf(token);
  if (kind.empty()) {
    return BadInput(fmt::format("{}: invalid JSON at byte {}: expected {}, found `{}`", place, offset,
                                expected, Excerpt(token)));
  }
  return BadInput(fmt::format("{}: expected {}, found {}", place, expected, kind));
}

Status JsonSource::Broken(sj::error_code error) const {
  return BadInput(fmt::format("invalid JSON at byte {}: {}", Offset(), sj::error_message(error)));
}

}  // namespace serve
