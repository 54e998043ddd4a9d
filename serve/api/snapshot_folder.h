#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "serve/api/snapshot.h"
#include "serve/base/status.h"

namespace serve {

/// The folder in which snapshots lie, named `<yyyyMMddHHmmssSSS>-{startup|snapshot|shutdown}.cfg` as
/// TorchServe names them. The newest one counts; the time in the name tells which.
///
/// A file gets its name only when it is complete and on the disk. A snapshot that does not fit is renamed to
/// `….rejected` and never looked at again. So is one during whose restoring the process ended three times:
/// BeginRestore and EndRestore keep count in the file `.restoring`.
/// Threads: any.
class SnapshotFolder {
 public:
  /// `keep`: how many snapshots stay; older ones are removed.
  explicit SnapshotFolder(std::filesystem::path folder, std::size_t keep = 20)
      : folder_(std::move(folder)), keep_(keep) {}

  /// The name that the next snapshot of this kind gets: later than all that are there.
  std::string NextName(std::string_view kind, std::chrono::system_clock::time_point now);
  Status Write(const std::string& name, std::string_view text);

  struct Found {
    std::string file;  // its name
    Snapshot snapshot;
  };
  /// The newest snapshot that can be read; those that cannot are set aside and logged.
  std::optional<Found> Latest();
  void BeginRestore(const std::string& file);
  void EndRestore();
  void SetAside(const std::string& file, std::string_view why);

  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }

 private:
  [[nodiscard]] std::vector<std::string> Names() const;

  const std::filesystem::path folder_;
  const std::size_t keep_;
  std::mutex mutex_;  // guards last_
  std::string last_;  // the 17 digits of the newest name
};

}  // namespace serve
