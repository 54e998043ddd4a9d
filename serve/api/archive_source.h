#pragma once

#include <filesystem>
#include <string>

#include "model_store/sources/fetch.h"
#include "serve/api/options.h"
#include "serve/base/status.h"

namespace serve {

/// Where an archive lies.
struct ArchiveSource {
  std::filesystem::path path;
  bool fetched = false;  // by this call: it goes again when the model cannot be served
};

/// Finds what the `url` of a register call means.
///
/// http, https, file:  fetched into the model store under the last part of its path, if allowed_urls says so
/// anything else:      the file or folder of the model store with that last part, so that no call reaches
///                     outside the store
/// Errors: kModelNotFound, kInternal (`Model file already exists`), kDownloadFailed with TorchServe's texts.
/// Threads: any; fetching blocks.
class ArchiveSources {
 public:
  explicit ArchiveSources(const ManagementOptions& options);

  /// `may_be_there`: a URL whose file already lies in the store is that file: at a start it was fetched
  /// before.
  Result<ArchiveSource> Find(const std::string& url, bool may_be_there) const;
  /// Removes what Find has fetched.
  void Discard(const ArchiveSource& source) const;
  /// Removes a file that was fetched, by its name in the store.
  void Remove(const std::string& file) const;

 private:
  Result<ArchiveSource> Fetch(const std::string& url, bool may_be_there) const;

  const std::filesystem::path store_;
  const FetchLimits limits_;
  AllowedUrls allowed_;
};

}  // namespace serve
