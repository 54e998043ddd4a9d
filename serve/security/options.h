#pragma once

#include <chrono>
#include <string>

namespace serve {

struct TokenOptions {
  bool enabled = false;
  /// Short-lived keys are made at start and written here, with mode 0600. Empty: key_file.json in the working
  /// folder, or none when there is a token_file.
  std::string key_file;
  std::chrono::milliseconds lifetime{60 * 60'000};   // of a short-lived key. TorchServe: token_expiration_min
  std::string token_file;                            // long-lived keys; empty: none
  std::chrono::milliseconds reload_interval{1'000};  // how often token_file is looked at
};

}  // namespace serve
