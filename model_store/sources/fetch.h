#pragma once

#include <filesystem>
#include <string>

#include "model_store/sources/allowed_urls.h"
#include "model_store/sources/download.h"
#include "serve/base/status.h"

namespace serve {

/// The name that an archive from this URL gets: the last part of its path. Errors: kModelNotFound when that
/// is no usable file name.
Result<std::string> FileNameOfUrl(const std::string& url);

/// How a http or https URL is fetched. Every redirect is checked like the first URL. Errors: kModelNotFound
/// (not allowed), kDownloadFailed (a forbidden host). `allowed` outlives the plan.
Result<DownloadPlan> HttpPlan(const std::string& url, const AllowedUrls& allowed);

/// Fetches `url` (http, https, file) into the new file `target`, whose folder exists; see Download.
///
/// Every redirect is checked like the first URL. The address that is really connected to must not be one of
/// IsForbiddenAddress, whatever a name resolved to before, unless `allowed` names the host. Errors:
/// kModelNotFound (not allowed), kInternal (`Model file already exists`), kDownloadFailed with TorchServe's
/// text and the reason. After an error there is no file. Threads: any; blocks until it is done.
Status FetchArchive(const std::string& url, const AllowedUrls& allowed, const FetchLimits& limits,
                    const std::filesystem::path& target, const Progress& progress = {});

}  // namespace serve
