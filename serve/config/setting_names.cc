#include <algorithm>
#include <cctype>
#include <numeric>
#include <utility>

#include "serve/config/settings.h"

namespace serve {
namespace {

/// Edits that make one word of the other, limited to what is worth knowing.
std::size_t EditDistance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replace = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string FlagOf(std::string_view key) {
  std::string flag = "--";
  for (const char c : key)
    flag += c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return flag;
}

std::string EnvironmentName(std::string_view prefix, std::string_view key) {
  std::string name(prefix);
  for (const char c : key) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string_view Nearest(std::string_view typed, const std::vector<std::string>& known) {
  std::string_view nearest;
  std::size_t least = std::max<std::size_t>(2, typed.size() / 4) + 1;  // more edits than this say nothing
  for (const std::string& name : known) {
    const std::size_t distance = EditDistance(typed, name);
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace serve
