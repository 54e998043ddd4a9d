#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "model_store/sources/allowed_urls.h"
#include "model_store/sources/download.h"
#include "serve/base/status.h"

namespace serve {

/// Where fetched models lie and what they may cost.
struct SourceOptions {
  std::filesystem::path cache;              // see SourceCache; other processes may use it too
  std::uint64_t cache_bytes = 20ULL << 30;  // 0: no limit
  FetchLimits limits;
};

/// What a URI was when it was fetched. Empty: there is none.
struct SourceOrigin {
  std::string uri;       // as it was asked for: `models:/news@production`
  std::string resolved;  // what that meant: `models:/news/4`, else the URI itself
  std::string artifact;  // where the bytes lie: `mlflow-artifacts:/1/…/news.mar`, `gs://…`
  std::string file;      // what it is called here
  std::string version;   // of a registered model
  std::string run_id;    // of the run that made it
  std::string etag;      // ETag or Last-Modified of the file
  std::string sha256;    // of the file; of a folder: of its files' digests and names
  std::uint64_t size = 0;
};
nlohmann::ordered_json OriginJson(const SourceOrigin& origin);
/// What OriginJson made; anything else gives an empty origin.
SourceOrigin ReadOrigin(const nlohmann::ordered_json& json);

struct FetchedSource {
  std::filesystem::path path;  // an archive, a model file, or a folder, in the cache
  SourceOrigin origin;
  bool was_cached = false;            // nothing was transferred
  std::shared_ptr<const void> lease;  // the cache keeps the files as long as somebody holds it
};

/// Whether FetchSource knows its scheme and the model store does not hold it: models:, runs:,
/// mlflow-artifacts:, s3://, gs://, in any case.
bool IsSourceUri(std::string_view uri);

/// Fetches a model into the cache.
///
///   models:/NAME/VERSION, models:/NAME@ALIAS, models:/NAME/latest, models:/m-ID, runs:/ID/PATH,
///   mlflow-artifacts:/PATH    from the MLflow server of MLFLOW_TRACKING_URI: the only archive of that
///   folder, or
///                             the unpacked archive that the folder is, or its only TorchScript file
///   s3://BUCKET/KEY           signed; see S3Plan
///   gs://BUCKET/OBJECT        see GcsPlan
///   http://…, https://…       redirects are checked as the URL was
///
/// `allowed` holds for the URI, for a gs:// or s3:// that a registered model leads to, and for redirects.
/// Errors: kModelNotFound (not allowed, no such URI), kDownloadFailed with TorchServe's text and the reason.
/// Nothing secret is in a text or in the origin. Threads: any; blocks.
Result<FetchedSource> FetchSource(const std::string& uri, const AllowedUrls& allowed,
                                  const SourceOptions& options, const Progress& progress = {});

/// The bytes of `origin` once more, from the cache or else from where they were; other bytes are an error.
Result<FetchedSource> FetchAgain(const SourceOrigin& origin, const AllowedUrls& allowed,
                                 const SourceOptions& options, const Progress& progress = {});

}  // namespace serve
