#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/periodic.h"
#include "serve/base/published.h"
#include "serve/base/status.h"
#include "serve/security/options.h"

namespace serve {

enum class TokenScope : std::uint8_t { kInference, kManagement };

/// Checks the `Authorization: Bearer KEY` of requests.
///
/// Keys:    one short-lived key for each API and one API key that renews them, 192 random bits each, in the
///          key file ({"management": {"key", "expiration time"}, "inference": …, "API": {"key"}}). Long-lived
///          ones in token_file: {"inference": ["…"], "management": ["…"]}, at least 16 characters each; it is
///          read again within a second after it changed. A file that became unusable changes nothing.
/// Secrecy: only digests are kept and compared, in constant time. No key is logged.
/// Errors:  Open says which file cannot be read or written. Refresh: kUnauthenticated.
/// Threads: Allows from any thread, it takes no lock that other threads take; Refresh writes a file: not on
/// an I/O thread. Source:  TorchServe's token authorization.
class TokenAuthority {
 public:
  static Result<std::unique_ptr<TokenAuthority>> Open(TokenOptions options);
  /// Writes the key file, if there is to be one. Call it once the server listens: one that cannot start must
  /// not take the keys of one that runs.
  Status Publish();
  ~TokenAuthority();
  TokenAuthority(const TokenAuthority&) = delete;
  TokenAuthority& operator=(const TokenAuthority&) = delete;

  /// `authorization`: the value of the header; empty when there is none.
  [[nodiscard]] bool Allows(TokenScope scope, std::string_view authorization) const;
  /// Makes a new short-lived key of `type` (`inference` or `management`); the old one ends at once.
  /// `authorization` must hold the API key.
  Status Refresh(std::string_view type, std::string_view authorization);

  /// Where the short-lived keys are; empty: there are none.
  [[nodiscard]] const std::string& key_file() const { return options_.key_file; }

 private:
  using Digest = std::array<unsigned char, 32>;
  using Clock = std::chrono::system_clock;
  struct Key {
    std::string text;
    Digest digest{};
    Clock::time_point expires = Clock::time_point::max();
  };

  explicit TokenAuthority(TokenOptions options) : options_(std::move(options)) {}
  static Digest DigestOf(std::string_view text);
  static Key MakeKey(Clock::time_point expires);
  Status WriteKeyFile() const;
  Status ReadTokenFile();
  void PublishKeys();
  void ReadTokenFileAgain();

  /// What Allows compares with.
  struct Accepted {
    struct Entry {
      Digest digest;
      Clock::time_point expires;
    };
    std::array<std::vector<Entry>, 2> keys;  // by scope
  };

  TokenOptions options_;
  Published<Accepted> accepted_;
  mutable std::mutex mutex_;  // guards everything below
  std::array<Key, 2> short_lived_;
  Key api_;
  std::array<std::vector<Digest>, 2> long_lived_;
  bool published_ = false;
  std::optional<Periodic> watcher_;  // last: it uses the others
};

}  // namespace serve
