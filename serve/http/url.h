#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// Decodes %XX in place, and `+` as a blank when `plus_is_blank` (query strings and forms, never paths).
/// Returns the decoded length, which is never more than `size`; nullopt when an escape is broken.
std::optional<std::size_t> PercentDecode(char* text, std::size_t size, bool plus_is_blank);

/// The parameters of a query string, decoded, in their order; a name may come several times.
class QueryParameters {
 public:
  /// Errors: kInvalidArgument for a broken escape, naming the parameter.
  static Result<QueryParameters> Parse(std::string_view query);

  void Add(std::string name, std::string value) { items_.emplace_back(std::move(name), std::move(value)); }
  /// The last value of that name: as a later flag on a command line, it wins.
  [[nodiscard]] const std::string* Find(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> All(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& items() const { return items_; }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

}  // namespace serve
