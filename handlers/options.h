#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// What an archive says to its handler: `flambeau.handler_options` of the manifest. Values are texts:
/// `5`, `0.5`, `true`, `0.485,0.456,0.406`.
using HandlerOptions = std::map<std::string, std::string, std::less<>>;

/// Reads options one after the other; the first that cannot be used is kept as the error.
class OptionReader {
 public:
  explicit OptionReader(const HandlerOptions& options) : options_(options) {}

  /// Leaves `value` as it is when the option is not given.
  void Read(std::string_view key, std::int64_t low, std::int64_t high, std::int64_t& value);
  void Read(std::string_view key, double low, double high, double& value);
  void Read(std::string_view key, bool& value);
  /// Three numbers with commas between them.
  void Read(std::string_view key, std::array<float, 3>& value);
  /// Names with commas between them.
  void Read(std::string_view key, std::vector<std::string>& value);

  /// kInvalidArgument names the option, its value and what is allowed. An option that `handler` does not know
  /// is a warning in the log: TorchServe's archives carry keys for handlers of their own.
  [[nodiscard]] Status Finish(std::string_view handler) const;

 private:
  /// nullptr: not given, or an earlier option was wrong.
  const std::string* Find(std::string_view key);
  void Refuse(std::string_view key, std::string_view value, const std::string& allowed);

  const HandlerOptions& options_;
  std::map<std::string_view, bool> known_;
  Status status_;
};

}  // namespace serve
