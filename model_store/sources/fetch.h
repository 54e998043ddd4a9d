#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>

#include "model_store/sources/allowed_urls.h"
#include "serve/base/status.h"

namespace serve {

struct FetchLimits {
  std::uint64_t max_bytes = 8ULL << 30;
  std::chrono::milliseconds timeout{600'000};  // of the whole fetch
  int max_redirects = 5;
};

/// The name that an archive from this URL gets: the last part of its path. Errors: kModelNotFound when that
/// is no usable file name.
Result<std::string> FileNameOfUrl(const std::string& url);

/// Fetches `url` (http, https, file) into the new file `target`, whose folder exists.
///
/// Every redirect is checked like the first URL. The address that is really connected to must not be one of
/// IsForbiddenAddress, whatever a name resolved to before, unless `allowed` names the host. Errors:
/// kModelNotFound (not allowed), kInternal (`Model file already exists`), kDownloadFailed with TorchServe's
/// text and the reason. After an error there is no file. Threads: any; blocks until it is done.
Status FetchArchive(const std::string& url, const AllowedUrls& allowed, const FetchLimits& limits,
                    const std::filesystem::path& target);

}  // namespace serve
