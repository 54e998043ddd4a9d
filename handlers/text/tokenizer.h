#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace serve {

/// Cuts text into words: the longest runs of a-z and 0-9 after A-Z were lowered. Every other byte separates
/// words: blanks, punctuation, apostrophes, and all bytes of letters outside ASCII (`café` gives `caf`).
/// Bytes need not be UTF-8. What is left of markup stays (`&lt;b&gt;` gives `lt b gt`): removing it cost
/// accuracy on news.
///
/// Memory:  the words point into `lowered`, which is overwritten and must outlive them.
/// Threads: any; shares nothing.
std::vector<std::string_view> Tokenize(std::string_view text, std::string& lowered);

/// Whether `word` could come out of Tokenize: not empty, a-z and 0-9 only.
bool IsToken(std::string_view word);

}  // namespace serve
