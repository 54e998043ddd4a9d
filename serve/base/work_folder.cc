#include "serve/base/work_folder.h"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace serve {

namespace fs = std::filesystem;

fs::path FolderOfTemporaryFiles() {
  for (const char* name : {"TMPDIR", "TMP", "TEMP", "TEMPDIR"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return "/tmp";
}

Result<WorkFolder> WorkFolder::Make(const fs::path& below, std::string_view name) {
  const fs::path parent = below.empty() ? FolderOfTemporaryFiles() : below;
  std::error_code error;
  fs::create_directories(parent, error);
  std::string pattern = (parent / fmt::format("{}-XXXXXX", name)).string();
  if (!error && mkdtemp(pattern.data()) == nullptr) error = {errno, std::generic_category()};
  if (!error) return WorkFolder(pattern);
  return Internal(fmt::format("cannot make a folder for temporary files in {}: {}{}", parent.string(),
                              error.message(),
                              below.empty() ? "; set TMPDIR to a folder that can be written" : ""));
}

WorkFolder::WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
}

fs::path WorkFolder::Release() && { return std::exchange(path_, {}); }

}  // namespace serve
