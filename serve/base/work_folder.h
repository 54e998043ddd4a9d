#pragma once

#include <filesystem>
#include <string_view>
#include <utility>

#include "serve/base/status.h"

namespace serve {

/// Where temporary files go: TMPDIR, TMP, TEMP or TEMPDIR, else /tmp. Whether it is there is not asked.
std::filesystem::path FolderOfTemporaryFiles();

/// A fresh folder that only this user can enter; gone with the object. Not thread-safe.
class WorkFolder {
 public:
  /// Below `below`, which is made when it is missing; empty: FolderOfTemporaryFiles(). Errors: kInternal,
  /// with the place, the reason and what to set.
  static Result<WorkFolder> Make(const std::filesystem::path& below = {}, std::string_view name = "flambeau");

  WorkFolder(WorkFolder&& other) noexcept;
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// It stays, and is another's to remove.
  std::filesystem::path Release() &&;

 private:
  explicit WorkFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;  // empty: nothing to remove
};

}  // namespace serve
