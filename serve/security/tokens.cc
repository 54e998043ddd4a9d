#include "serve/security/tokens.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <iterator>
#include <optional>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "serve/base/files.h"
#include "serve/base/log.h"
#include "serve/security/file_mark.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeyBytes = 24;
constexpr std::size_t kLeastCharacters = 16;
constexpr std::uintmax_t kMostFileBytes = 1 << 20;
constexpr std::array<const char*, 2> kScopeNames = {"inference", "management"};

/// The base64 alphabet that needs no escapes in a URL; 24 bytes need no padding.
std::string UrlSafe(const std::array<unsigned char, kKeyBytes>& bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned group = bytes[i] << 16U | bytes[i + 1] << 8U | bytes[i + 2];
    for (int shift = 18; shift >= 0; shift -= 6)
      text += kAlphabet[group >> static_cast<unsigned>(shift) & 63U];
  }
  return text;
}

std::string IsoTime(std::chrono::system_clock::time_point time) {
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z",
                     fmt::gmtime(static_cast<std::time_t>(nanos / 1'000'000'000)), nanos % 1'000'000'000);
}

/// The key of `Bearer KEY`, with one or more blanks between; the scheme in any case, as in RFC 7235.
std::optional<std::string_view> BearerKey(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer";
  if (authorization.size() <= kScheme.size()) return std::nullopt;
  for (std::size_t i = 0; i < kScheme.size(); ++i) {
    if ((authorization[i] | 0x20) != kScheme[i]) return std::nullopt;
  }
  const std::size_t begin = authorization.find_first_not_of(" \t", kScheme.size());
  if (begin == kScheme.size() || begin == std::string_view::npos) return std::nullopt;
  const std::string_view key = authorization.substr(begin);
  if (key.find_first_of(" \t") != std::string_view::npos) return std::nullopt;
  return key;
}

}  // namespace

TokenAuthority::Digest TokenAuthority::DigestOf(std::string_view text) {
  Digest digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return digest;
}

TokenAuthority::Key TokenAuthority::MakeKey(Clock::time_point expires) {
  std::array<unsigned char, kKeyBytes> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return {};
  Key key{UrlSafe(bytes), {}, expires};
  key.digest = DigestOf(key.text);
  return key;
}

Result<std::unique_ptr<TokenAuthority>> TokenAuthority::Open(TokenOptions options) {
  if (options.key_file.empty() && options.token_file.empty()) options.key_file = "key_file.json";
  std::error_code error;
  if (!options.key_file.empty()) options.key_file = fs::absolute(options.key_file, error).string();
  std::unique_ptr<TokenAuthority> authority(new TokenAuthority(std::move(options)));
  if (!authority->options_.token_file.empty()) {
    // Before it is read: a change after that must not be taken for what was read.
    const FileMark seen = FileMark::Of(authority->options_.token_file);
    if (Status status = authority->ReadTokenFile(); !status.ok()) return status;
    authority->watcher_.emplace(authority->options_.reload_interval,
                                [raw = authority.get(), seen = seen]() mutable {
                                  const FileMark now = FileMark::Of(raw->options_.token_file);
                                  if (now == seen) return;
                                  seen = now;
                                  raw->ReadTokenFileAgain();
                                });
  }
  if (!authority->options_.key_file.empty()) {
    const Clock::time_point expires = Clock::now() + authority->options_.lifetime;
    const std::lock_guard lock(authority->mutex_);
    for (Key& key : authority->short_lived_) key = MakeKey(expires);
    authority->api_ = MakeKey(Clock::time_point::max());
    authority->PublishKeys();
    if (authority->api_.text.empty()) return Internal("the system gives no random numbers for keys");
  }
  return authority;
}

Status TokenAuthority::Publish() {
  if (options_.key_file.empty()) return {};
  const std::lock_guard lock(mutex_);
  Status status = WriteKeyFile();
  published_ = status.ok();
  return status;
}

TokenAuthority::~TokenAuthority() {
  std::error_code error;
  if (published_) fs::remove(options_.key_file, error);  // its keys open nothing any more
}

/// With mutex_ held.
Status TokenAuthority::WriteKeyFile() const {
  nlohmann::ordered_json json;
  for (const std::size_t scope : {1, 0}) {  // TorchServe's order
    json[kScopeNames[scope]] = {{"key", short_lived_[scope].text},
                                {"expiration time", IsoTime(short_lived_[scope].expires)}};
  }
  json["API"] = {{"key", api_.text}};
  const std::string text = json.dump(2);
  const std::string partial = fmt::format("{}.partial.{}", options_.key_file, getpid());
  ::unlink(partial.c_str());
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  const bool written = file >= 0 && WriteAll(file, text).empty();
  int reason = errno;
  if (file >= 0) ::close(file);
  if (written && ::rename(partial.c_str(), options_.key_file.c_str()) == 0) return {};
  if (written) reason = errno;
  ::unlink(partial.c_str());
  return Internal(fmt::format("cannot write key_file {}: {}; name another place", options_.key_file,
                              std::generic_category().message(reason)));
}

Status TokenAuthority::ReadTokenFile() {
  const std::string& path = options_.token_file;
  const auto unusable = [&path](const std::string& why) {
    return InvalidArgument(fmt::format(
        "token_file {}: {}; expected {{\"inference\": [\"KEY\"], \"management\": [\"KEY\"]}}", path, why));
  };
  struct stat status {};
  const Result<std::string> text = ReadFile(path, kMostFileBytes);
  if (!text) return unusable("it cannot be read: " + text.error().message);
  if (::stat(path.c_str(), &status) != 0) return unusable("it cannot be read");
  if ((status.st_mode & 077U) != 0) {
    LogWarning("token_file {} can be read by others than its owner; `chmod 600` it", path);
  }
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return unusable("it is no JSON object");
  std::array<std::vector<Digest>, 2> keys;
  for (std::size_t scope = 0; scope < keys.size(); ++scope) {
    const auto found = json.find(kScopeNames[scope]);
    if (found == json.end()) continue;
    const nlohmann::json list = found->is_array() ? *found : nlohmann::json::array({*found});
    for (const nlohmann::json& key : list) {
      if (!key.is_string() || key.get_ref<const std::string&>().size() < kLeastCharacters) {
        return unusable(fmt::format("a key of `{}` is no text of at least {} characters", kScopeNames[scope],
                                    kLeastCharacters));
      }
      keys[scope].push_back(DigestOf(key.get_ref<const std::string&>()));
    }
  }
  const std::lock_guard lock(mutex_);
  long_lived_ = std::move(keys);
  PublishKeys();
  return {};
}

/// With mutex_ held.
void TokenAuthority::PublishKeys() {
  auto accepted = std::make_shared<Accepted>();
  for (std::size_t scope = 0; scope < accepted->keys.size(); ++scope) {
    auto& keys = accepted->keys[scope];
    const Key& key = short_lived_[scope];
    if (!key.text.empty()) keys.push_back({key.digest, key.expires});
    for (const Digest& digest : long_lived_[scope]) keys.push_back({digest, Clock::time_point::max()});
  }
  accepted_.Publish(std::move(accepted));
}

void TokenAuthority::ReadTokenFileAgain() {
  if (const Status status = ReadTokenFile(); status.ok()) {
    LogInfo("token_file {} was read again.", options_.token_file);
  } else {
    LogError("the keys stay as they were: {}", status.message);
  }
}

bool TokenAuthority::Allows(TokenScope scope, std::string_view authorization) const {
  const std::optional<std::string_view> key = BearerKey(authorization);
  const Digest given = DigestOf(key.value_or(""));
  const auto index = static_cast<std::size_t>(scope);
  const Clock::time_point now = Clock::now();
  const std::shared_ptr<const Accepted> accepted = accepted_.Get();
  bool allowed = false;
  for (const auto& [digest, expires] : accepted->keys[index]) {  // all of them: the time tells nothing
    allowed |= CRYPTO_memcmp(given.data(), digest.data(), given.size()) == 0 && now < expires;
  }
  return allowed && key.has_value();
}

Status TokenAuthority::Refresh(std::string_view type, std::string_view authorization) {
  const Status refused{
      Code::kUnauthenticated,
      "Token Authentication failed. Token either incorrect, expired, or not provided correctly"};
  const auto scope = std::find(kScopeNames.begin(), kScopeNames.end(), type);
  const std::optional<std::string_view> key = BearerKey(authorization);
  const Digest given = DigestOf(key.value_or(""));
  const std::lock_guard lock(mutex_);
  const bool same = CRYPTO_memcmp(given.data(), api_.digest.data(), given.size()) == 0;
  if (!same || !key || api_.text.empty() || scope == kScopeNames.end()) return refused;
  Key fresh = MakeKey(Clock::now() + options_.lifetime);
  if (fresh.text.empty()) return Internal("the system gives no random numbers for keys");
  Key& current = short_lived_[static_cast<std::size_t>(scope - kScopeNames.begin())];
  std::swap(current, fresh);
  if (Status status = WriteKeyFile(); !status.ok()) {
    std::swap(current, fresh);
    return status;
  }
  PublishKeys();
  LogInfo("The {} key was renewed.", type);
  return {};
}

}  // namespace serve
