#include "tools/cli/answer_text.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

namespace serve {

std::string Text(const Json& value) {
  return value.is_string() ? value.get<std::string>()
                           : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? "" : Text(*found);
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) text += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += row.back() + "\n";
  }
  return text;
}

int UnexpectedAnswer(const ApiClient& client, const HttpAnswer& answer) {
  return client.Fail(Internal(
      fmt::format("the answer is not what a management API sends; is --management right? It began with: {}",
                  answer.body.substr(0, 200))));
}

}  // namespace serve
