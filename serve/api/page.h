#pragma once

#include <algorithm>
#include <cstddef>

namespace serve {

/// One page of a list: its items from `begin` to before `end`.
struct Page {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool has_next = false;  // the next one begins at `end`
};

/// `limit` outside of 0 to 100 is 100, a negative `token` is 0. TorchServe repeats the offset for limit=0 and
/// points at an empty last page; a client that follows the token would not end, so there is a next page only
/// when more follows.
inline Page PageOf(std::size_t size, int limit, int token) {
  constexpr int kMostItems = 100;
  const auto count = static_cast<std::size_t>(limit < 0 || limit > kMostItems ? kMostItems : limit);
  Page page;
  page.begin = std::min(size, static_cast<std::size_t>(std::max(token, 0)));
  page.end = std::min(size, page.begin + count);
  page.has_next = page.end < size && count > 0;
  return page;
}

}  // namespace serve
