#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/base/status.h"

namespace serve {

/// What was fetched, by its content: a folder that several processes share.
///
///   sha256/<digest>/<name>   an archive, or a folder of files; `.lock` beside it
///   known/<key>              which digest a URI had with a certain ETag
///   partial/<key>            a fetch that is not done, or broke; `.state`, `.lock` beside it
///
/// What somebody uses stays: an entry holds a shared lock on its `.lock` as long as its lease lives, also in
/// other processes, and a process that dies holds none. When a new entry makes the cache larger than
/// `max_bytes`, those go that were not used for the longest time. An entry appears complete, or not at all.
/// Threads: any; calls wait for other processes that change the cache, which takes milliseconds.
class SourceCache {
 public:
  /// `max_bytes`: 0: no limit. The folder is made when it is needed.
  SourceCache(std::filesystem::path folder, std::uint64_t max_bytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}

  struct Entry {
    std::filesystem::path path;
    std::string sha256;
    std::uint64_t size = 0;
    std::shared_ptr<const void> lease;  // as long as somebody holds it, the entry stays
  };
  /// nullopt: it is not there.
  std::optional<Entry> Find(const std::string& sha256) const;
  /// What `key` (a URI with its ETag) was found to hold; nullopt: nobody knows, or it is not there any more.
  std::optional<Entry> FindKnown(std::string_view key) const;

  /// The place to fetch a URI to, for this caller alone. Whoever comes second waits.
  struct Claim {
    std::filesystem::path partial;  // may hold what an earlier fetch left
    std::shared_ptr<const void> lock;
  };
  /// Errors: kInternal (the folder cannot be written), kDeadlineExceeded (another process fetches it).
  Result<Claim> ClaimPartial(std::string_view uri, std::chrono::steady_clock::time_point deadline) const;

  /// Moves `file` (or folder) into the cache under `name`, and notes `key` unless it is empty. What is there
  /// already with this content, stays. Errors: kInternal.
  Result<Entry> Insert(const std::filesystem::path& file, const std::string& name,
                       std::string_view key) const;

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  [[nodiscard]] std::shared_ptr<const void> Lock() const;
  std::optional<Entry> Take(const std::string& sha256) const;
  void MakeRoom() const;

  std::filesystem::path folder_;
  std::uint64_t max_bytes_;
};

/// The digest of a file; of a folder: of its files' digests and names, sorted.
struct ContentDigest {
  std::string sha256;
  std::uint64_t size = 0;
};
Result<ContentDigest> DigestOf(const std::filesystem::path& path);

}  // namespace serve
