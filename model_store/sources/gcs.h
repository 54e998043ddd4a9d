#pragma once

#include <string>

#include "model_store/sources/download.h"
#include "serve/base/status.h"

namespace serve {

/// How an object of Google Cloud Storage (`gs://BUCKET/OBJECT`) is fetched: by its JSON API, with the token
/// of FindGoogleToken; without one as anybody may read it. STORAGE_EMULATOR_HOST names another server.
/// Errors: kModelNotFound (not such a URI), kDownloadFailed (no token, although credentials are there).
/// Threads: any; may wait some seconds for a token.
Result<DownloadPlan> GcsPlan(const std::string& uri);

}  // namespace serve
