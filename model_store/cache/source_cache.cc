#include "model_store/cache/source_cache.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "model_store/archive/sha256.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kPartialsKept = std::chrono::hours(7 * 24);

/// Holds a lock on a file; closing it gives the lock back. Null: it could not be had.
std::shared_ptr<const void> LockFile(const fs::path& file, int operation) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) return nullptr;
  while (::flock(descriptor, operation) != 0) {
    if (errno == EINTR) continue;
    ::close(descriptor);
    return nullptr;
  }
  return {reinterpret_cast<const void*>(1), [descriptor](const void*) { ::close(descriptor); }};
}

std::uint64_t SizeOf(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error)) return fs::file_size(path, error);
  std::uint64_t size = 0;
  fs::recursive_directory_iterator entry(path, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_regular_file(error)) size += entry->file_size(error);
  }
  return size;
}

/// What lies in the folder of a digest.
fs::path Content(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != ".lock") return entry->path();
  }
  return {};
}

}  // namespace

Result<ContentDigest> DigestOf(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    const Result<FileDigest> digest = DigestFile(path);
    if (!digest) return digest.error();
    return ContentDigest{digest->sha256, digest->size};
  }
  std::vector<std::string> lines;
  ContentDigest whole;
  fs::recursive_directory_iterator entry(path, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    const Result<FileDigest> digest = DigestFile(entry->path());
    if (!digest) return digest.error();
    whole.size += digest->size;
    lines.push_back(
        fmt::format("{}  {}\n", entry->path().lexically_relative(path).generic_string(), digest->sha256));
  }
  if (error) return Internal(fmt::format("cannot read {}: {}", path.string(), error.message()));
  std::sort(lines.begin(), lines.end());
  Sha256 sum;
  for (const std::string& line : lines) sum.Update(line);
  whole.sha256 = sum.Finish();
  return whole;
}

/// Whoever changes the cache, or takes something out of it, does so alone.
std::shared_ptr<const void> SourceCache::Lock() const {
  std::error_code error;
  for (const char* name : {"sha256", "known", "partial"}) fs::create_directories(folder_ / name, error);
  return LockFile(folder_ / ".lock", LOCK_EX);
}

std::optional<SourceCache::Entry> SourceCache::Take(const std::string& sha256) const {
  const fs::path folder = folder_ / "sha256" / sha256;
  std::error_code error;
  if (!IsSha256(sha256) || !fs::is_directory(folder, error)) return std::nullopt;
  Entry entry{Content(folder), sha256, 0, LockFile(folder / ".lock", LOCK_SH)};
  if (entry.path.empty() || entry.lease == nullptr) return std::nullopt;
  entry.size = SizeOf(entry.path);
  ::utimensat(AT_FDCWD, (folder / ".lock").c_str(), nullptr, 0);  // used now
  return entry;
}

std::optional<SourceCache::Entry> SourceCache::Find(const std::string& sha256) const {
  std::error_code error;
  if (!fs::is_directory(folder_, error)) return std::nullopt;
  const std::shared_ptr<const void> lock = Lock();
  return Take(sha256);
}

std::optional<SourceCache::Entry> SourceCache::FindKnown(std::string_view key) const {
  std::error_code error;
  if (!fs::is_directory(folder_, error)) return std::nullopt;
  const std::shared_ptr<const void> lock = Lock();
  std::ifstream stream(folder_ / "known" / Sha256OfBytes(key));
  std::string sha256;
  stream >> sha256;
  return Take(sha256);
}

Result<SourceCache::Claim> SourceCache::ClaimPartial(std::string_view uri, Clock::time_point deadline) const {
  if (Lock() == nullptr) {
    return Internal(fmt::format("the cache {} cannot be written: {}", folder_.string(),
                                std::generic_category().message(errno)));
  }
  const fs::path partial = folder_ / "partial" / Sha256OfBytes(uri);
  fs::path lock_file = partial;
  lock_file += ".lock";
  while (true) {
    if (std::shared_ptr<const void> lock = LockFile(lock_file, LOCK_EX | LOCK_NB)) {
      return Claim{partial, std::move(lock)};
    }
    if (errno != EWOULDBLOCK) {
      return Internal(
          fmt::format("{} cannot be opened: {}", lock_file.string(), std::generic_category().message(errno)));
    }
    if (Clock::now() >= deadline) {
      return Status{Code::kDeadlineExceeded, "another process fetches the same, and took too long"};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<SourceCache::Entry> SourceCache::Insert(const fs::path& file, const std::string& name,
                                               std::string_view key) const {
  const Result<ContentDigest> digest = DigestOf(file);
  if (!digest) return digest.error();
  const auto failed = [this](const std::error_code& error) {
    return Internal(fmt::format("the cache {} cannot be written: {}", folder_.string(), error.message()));
  };
  const std::shared_ptr<const void> lock = Lock();
  if (lock == nullptr) return failed({errno, std::generic_category()});
  const fs::path folder = folder_ / "sha256" / digest->sha256;
  std::error_code error;
  if (fs::exists(folder, error)) {
    fs::remove_all(file, error);
  } else {
    const fs::path fresh = folder_ / "sha256" / fmt::format(".new.{}", getpid());
    fs::remove_all(fresh, error);
    fs::create_directories(fresh, error);
    if (!error) fs::rename(file, fresh / name, error);
    if (!error) fs::rename(fresh, folder, error);
    if (error) {
      const std::error_code why = error;
      fs::remove_all(fresh, error);
      return failed(why);
    }
  }
  if (!key.empty()) std::ofstream(folder_ / "known" / Sha256OfBytes(key)) << digest->sha256 << '\n';
  std::optional<Entry> entry = Take(digest->sha256);
  if (!entry) return failed(std::make_error_code(std::errc::no_such_file_or_directory));
  MakeRoom();
  return *std::move(entry);
}

/// With the lock held.
void SourceCache::MakeRoom() const {
  struct Candidate {
    fs::path folder;
    std::uint64_t size = 0;
    fs::file_time_type used;
  };
  std::vector<Candidate> all;
  std::uint64_t total = 0;
  std::error_code error;
  fs::directory_iterator item(folder_ / "sha256", error);
  for (; !error && item != fs::directory_iterator(); item.increment(error)) {
    std::error_code ignored;
    all.push_back({item->path(), SizeOf(item->path()), fs::last_write_time(item->path() / ".lock", ignored)});
    total += all.back().size;
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.used < b.used; });
  for (const Candidate& candidate : all) {
    if (max_bytes_ == 0 || total <= max_bytes_) break;
    if (LockFile(candidate.folder / ".lock", LOCK_EX | LOCK_NB) == nullptr) continue;  // somebody uses it
    std::error_code ignored;
    fs::remove_all(candidate.folder, ignored);
    total -= candidate.size;
  }
  const fs::file_time_type now = fs::file_time_type::clock::now();
  item = fs::directory_iterator(folder_ / "partial", error);
  for (; !error && item != fs::directory_iterator(); item.increment(error)) {
    std::error_code ignored;
    if (item->path().extension() == ".lock") continue;  // removing it would let two hold "the" lock
    if (now - fs::last_write_time(item->path(), ignored) > kPartialsKept) fs::remove(item->path(), ignored);
  }
}

}  // namespace serve
