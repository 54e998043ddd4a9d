#include "serve/api/archive_source.h"

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

}  // namespace

ArchiveSources::ArchiveSources(const ManagementOptions& options)
    : store_(options.model_store), limits_{options.max_download_bytes, options.download_timeout} {
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
  if (HasScheme(url)) {
    return Status{
        Code::kModelNotFound,
        fmt::format("Given URL {} does not match any allowed URL(s): archives are fetched from http, https "
                    "and file. Put it into the model store and register it by its file name.",
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
  if (Status status = FetchArchive(url, allowed_, limits_, source.path); !status.ok()) return status;
  LogInfo("{} was fetched into the model store.", *name);
  return source;
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
