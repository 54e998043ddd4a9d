#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "model_store/sources/fetch.h"
#include "model_store/sources/source.h"
#include "serve/api/options.h"
#include "serve/base/status.h"

namespace serve {

/// Where an archive lies.
struct ArchiveSource {
  std::filesystem::path path;
  bool fetched = false;                 // by this call: it goes again when the model cannot be served
  nlohmann::ordered_json origin{};      // what a URI of the cache meant (OriginJson); else null
  std::shared_ptr<const void> lease{};  // keeps it in the cache
};

/// Finds what the `url` of a register call means.
///
/// http, https, file:  fetched into the model store under the last part of its path, if allowed_urls says so
/// models, runs, …:    fetched into the cache (FetchSource), if allowed_urls says so
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
  /// The bytes that a URI of the cache meant before.
  Result<ArchiveSource> FindAgain(const nlohmann::ordered_json& origin) const;
  /// Removes what Find has fetched.
  void Discard(const ArchiveSource& source) const;
  /// Removes a file that was fetched, by its name in the store.
  void Remove(const std::string& file) const;

 private:
  Result<ArchiveSource> Fetch(const std::string& url, bool may_be_there) const;

  const std::filesystem::path store_;
  const FetchLimits limits_;
  const SourceOptions cache_;
  AllowedUrls allowed_;
};

}  // namespace serve
