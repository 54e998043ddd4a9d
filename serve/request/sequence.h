#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace serve {

/// Which sequence of requests this one belongs to, as the client says.
struct SequenceAsk {
  std::string id;      // empty: a new one, which the server names
  bool start = false;  // it begins here, whatever was open under this id
  bool end = false;    // it ends with this request
};

/// What an id may be, for it goes into a header of the answer.
inline constexpr std::string_view kSequenceIdForm =
    "it must be at most 128 visible ASCII characters without quotes, backslash and comma";
inline bool IsSequenceId(std::string_view id) {
  return id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
           return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != ',';
         });
}

}  // namespace serve
