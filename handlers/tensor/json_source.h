#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "serve/base/status.h"

namespace serve {

/// Arrays deeper than this are refused: no tensor has so many dimensions, and recursion stays bounded.
inline constexpr int kMaxNesting = 32;
/// Error texts are cut here, so that no body is echoed back at length.
inline constexpr std::size_t kMaxErrorText = 300;

/// `text` cut to `limit` bytes at a character's border, control characters replaced: fit for an error
/// message.
std::string Excerpt(std::string_view text, std::size_t limit = 40);
/// kInvalidArgument, cut at kMaxErrorText.
Status BadInput(std::string_view message);

/// The JSON text that is being read and where the reader stands in it. Borrowed for the length of one parse.
struct JsonSource {
  std::string_view text;  // Buffer::kPadding readable bytes follow
  simdjson::ondemand::document& document;

  /// Where the next unread token starts; the size of the text at its end.
  [[nodiscard]] std::size_t Offset() const;
  /// The token that starts there, without what follows it (a string: its quote only).
  [[nodiscard]] std::string_view TokenAt(std::size_t offset) const;
  /// `place: expected a number, found a string`; or what is wrong with the JSON when the token there is no
  /// value.
  [[nodiscard]] Status Unexpected(std::size_t offset, std::string_view place,
                                  std::string_view expected) const;
  /// `invalid JSON at byte 17: ...` for an error that the parser reported.
  [[nodiscard]] Status Broken(simdjson::error_code error) const;
};

}  // namespace serve
