#include "handlers/text/tokenizer.h"

#include <algorithm>
#include <array>

namespace serve {
namespace {

/// Each byte of a word in lower case; 0 for what separates words.
constexpr std::array<char, 256> kLowered = [] {
  std::array<char, 256> table{};
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<std::size_t>(c)] = static_cast<char>(c);
  for (int c = '0'; c <= '9'; ++c) table[static_cast<std::size_t>(c)] = static_cast<char>(c);
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<std::size_t>(c)] = static_cast<char>(c - 'A' + 'a');
  return table;
}();

}  // namespace

std::vector<std::string_view> Tokenize(std::string_view text, std::string& lowered) {
  lowered.resize(text.size());
  std::transform(text.begin(), text.end(), lowered.begin(),
                 [](char c) { return kLowered[static_cast<unsigned char>(c)]; });
  std::vector<std::string_view> words;
  words.reserve(text.size() / 6 + 1);  // English words and the blank behind them
  const std::string_view all = lowered;
  for (std::size_t at = 0; at < all.size();) {
    if (all[at] == 0) {
      ++at;
      continue;
    }
    const std::size_t end = std::min(all.find('\0', at), all.size());
    words.push_back(all.substr(at, end - at));
    at = end;
  }
  return words;
}

bool IsToken(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return kLowered[static_cast<unsigned char>(c)] == c && c != 0;
  });
}

}  // namespace serve
