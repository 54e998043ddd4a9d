#include "serve/api/snapshot_folder.h"

#include <algorithm>
#include <cctype>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <system_error>
#include <unistd.h>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "serve/base/files.h"
#include "serve/base/log.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDigits = 17;
constexpr std::uintmax_t kMaxBytes = 16U << 20;
constexpr int kMostTries = 3;
constexpr const char* kRestoring = ".restoring";

bool IsSnapshotName(const std::string& name) {
  if (name.size() <= kDigits || !name.ends_with(".cfg") || name[kDigits] != '-') return false;
  return std::all_of(name.begin(), name.begin() + kDigits,
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string Digits(std::chrono::system_clock::time_point time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y%m%d%H%M%S}{:03}", fmt::gmtime(static_cast<std::time_t>(millis / 1000)),
                     millis % 1000);
}

/// The next decimal number of the same length: what follows a name whose time has not passed yet.
std::string Incremented(std::string digits) {
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit) {
    if (*digit != '9') {
      ++*digit;
      break;
    }
    *digit = '0';
  }
  return digits;
}

Status SyncAndClose(int file, const fs::path& path, std::string_view text) {
  const bool complete = WriteAll(file, text).empty() && ::fsync(file) == 0;
  const int reason = errno;
  if (::close(file) == 0 && complete) return {};
  return Internal(fmt::format("cannot write {}: {}", path.string(), std::generic_category().message(reason)));
}

}  // namespace

std::vector<std::string> SnapshotFolder::Names() const {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder_, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (std::string name = entry->path().filename().string(); IsSnapshotName(name)) {
      names.push_back(std::move(name));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string SnapshotFolder::NextName(std::string_view kind, std::chrono::system_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (const std::vector<std::string> names = Names(); !names.empty()) {
    last_ = std::max(last_, names.back().substr(0, kDigits));
  }
  std::string digits = Digits(now);
  if (digits <= last_) digits = Incremented(last_);  // twice in a millisecond, or the clock went back
  last_ = digits;
  return fmt::format("{}-{}.cfg", digits, kind);
}

Status SnapshotFolder::Write(const std::string& name, std::string_view text) {
  std::error_code error;
  fs::create_directories(folder_, error);
  const fs::path target = folder_ / name;
  const fs::path partial = folder_ / fmt::format(".{}.partial.{}", name, getpid());
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) {
    return Internal(
        fmt::format("cannot write {}: {}", partial.string(), std::generic_category().message(errno)));
  }
  Status status = SyncAndClose(file, partial, text);
  if (status.ok()) {
    fs::rename(partial, target, error);
    if (error) status = Internal(fmt::format("cannot write {}: {}", target.string(), error.message()));
  }
  if (!status.ok()) {
    fs::remove(partial, error);
    return status;
  }
  if (const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);  // the new name
    ::close(folder);
  }
  const std::vector<std::string> names = Names();
  for (std::size_t i = 0; i + keep_ < names.size(); ++i) fs::remove(folder_ / names[i], error);
  return {};
}

std::optional<SnapshotFolder::Found> SnapshotFolder::Latest() {
  std::string tried;  // the one of the last start, if that did not get through it
  int tries = 0;
  std::ifstream(folder_ / kRestoring) >> tried >> tries;
  std::vector<std::string> names = Names();
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (*name == tried && tries >= kMostTries) {
      SetAside(*name, fmt::format("the server ended {} times while it was restored", tries));
      continue;
    }
    const Result<std::string> text = ReadFile(folder_ / *name, kMaxBytes);
    if (!text) {
      SetAside(*name, fmt::format("it cannot be read: {}", text.error().message));
      continue;
    }
    Result<Snapshot> snapshot = ParseSnapshotText(*text);
    if (snapshot) return Found{*name, std::move(*snapshot)};
    SetAside(*name, snapshot.error().message);
  }
  return std::nullopt;
}

void SnapshotFolder::BeginRestore(const std::string& file) {
  std::string tried;
  int tries = 0;
  std::ifstream(folder_ / kRestoring) >> tried >> tries;
  std::ofstream(folder_ / kRestoring) << file << ' ' << (tried == file ? tries + 1 : 1) << '\n';
}

void SnapshotFolder::EndRestore() {
  std::error_code error;
  fs::remove(folder_ / kRestoring, error);
}

void SnapshotFolder::SetAside(const std::string& file, std::string_view why) {
  std::error_code error;
  const fs::path target = folder_ / (file + ".rejected");
  fs::rename(folder_ / file, target, error);
  if (error) {
    LogError("snapshot {} does not fit ({}), and cannot be renamed: {}", (folder_ / file).string(), why,
             error.message());
  } else {
    LogError("snapshot {} does not fit and is set aside as {}: {}", file, target.string(), why);
  }
}

}  // namespace serve
