#include "serve/api/archive_source.h"

#include <chrono>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "serve/base/log.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

bool HasScheme(const std::string& url) {
  const std::size_t colon = url.find("://");
  return colon != std::string::npos && colon > 0;
}

FetchLimits LimitsOf(const ManagementOptions& options) {
  FetchLimits limits;
  limits.max_bytes = options.max_download_bytes;
  limits.timeout = options.download_timeout;
  limits.connections = options.download_connections;
  return limits;
}

/// A line every ten seconds.
Progress LogProgress(const std::string& url) {
  return [url, last = std::chrono::steady_clock::now()](std::uint64_t received, std::uint64_t total) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (now - last < std::chrono::seconds(10)) return;
    last = now;
    LogInfo("{}: {} of {} bytes are fetched.", url, received, total);
  };
}

Result<ArchiveSource> FromCache(Result<FetchedSource> fetched) {
  if (!fetched) return fetched.error();
  const SourceOrigin& origin = fetched->origin;
  LogInfo("{} is {}{}, sha256 {}{}.", origin.uri, origin.resolved,
          origin.run_id.empty() ? "" : fmt::format(" of run {}", origin.run_id), origin.sha256,
          fetched->was_cached ? ", from the cache" : "");
  return ArchiveSource{fetched->path, false, OriginJson(origin), fetched->lease};
}

}  // namespace

ArchiveSources::ArchiveSources(const ManagementOptions& options)
    : store_(options.model_store),
      limits_(LimitsOf(options)),
      cache_{options.source_cache.empty() ? store_ / ".cache" : fs::path(options.source_cache),
             options.source_cache_bytes, limits_} {
  Result<AllowedUrls> allowed = AllowedUrls::Parse(options.allowed_urls);
  if (allowed) {
    allowed_ = std::move(*allowed);
  } else {  // serve/config has checked it
    LogError("nothing can be fetched: {}", allowed.error().message);
  }
}

Result<ArchiveSource> ArchiveSources::Find(const std::string& url, bool may_be_there) const {
  if (url.empty()) return Status{Code::kModelNotFound, "empty url"};
  if (store_.empty())
    return Status{Code::kModelNotFound,
                  "Model store has not been configured. Start the server with --model-store DIR."};
  if (url.find("..") != std::string::npos) {
    return Status{Code::kModelNotFound, fmt::format("Relative path is not allowed in url: {}", url)};
  }
  if (IsFetchUrl(url)) return Fetch(url, may_be_there);
  if (IsSourceUri(url)) return FromCache(FetchSource(url, allowed_, cache_, LogProgress(url)));
  if (HasScheme(url)) {
    return Status{
        Code::kModelNotFound,
        fmt::format("Given URL {} does not match any allowed URL(s): archives are fetched from http, https, "
                    "file, s3, gs and MLflow (models:/, runs:/, mlflow-artifacts:/). Put it into the model "
                    "store and register it by its file name.",
                    url)};
  }
  const fs::path name = fs::path(url).filename();
  const fs::path path = store_ / name;
  std::error_code error;
  if (name.empty() || name == "." || url.find('\0') != std::string::npos || !fs::exists(path, error)) {
    return Status{
        Code::kModelNotFound,
        fmt::format("Model not found at: {} (looked for {} in the model store)", url, name.string())};
  }
  return ArchiveSource{path};
}

Result<ArchiveSource> ArchiveSources::Fetch(const std::string& url, bool may_be_there) const {
  if (Status status = allowed_.Check(url); !status.ok()) return status;
  const Result<std::string> name = FileNameOfUrl(url);
  if (!name) return name.error();
  ArchiveSource source{store_ / *name, true};
  std::error_code error;
  if (may_be_there && fs::exists(source.path, error)) {
    source.fetched = false;
    return source;
  }
  if (Status status = FetchArchive(url, allowed_, limits_, source.path, LogProgress(url)); !status.ok())
    return status;
  LogInfo("{} was fetched into the model store.", *name);
  return source;
}

Result<ArchiveSource> ArchiveSources::FindAgain(const nlohmann::ordered_json& origin) const {
  const SourceOrigin read = ReadOrigin(origin);
  if (read.uri.empty()) {
    return Status{Code::kModelNotFound, "the snapshot does not say where the model is from"};
  }
  return FromCache(FetchAgain(read, allowed_, cache_, LogProgress(read.uri)));
}

void ArchiveSources::Discard(const ArchiveSource& source) const {
  std::error_code error;
  if (source.fetched) fs::remove(source.path, error);
}

void ArchiveSources::Remove(const std::string& file) const {
  std::error_code error;
  fs::remove(store_ / fs::path(file).filename(), error);
  if (error) LogWarning("cannot remove {} from the model store: {}", file, error.message());
}

}  // namespace serve
