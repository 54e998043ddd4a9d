#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "model_store/http_client/http_client.h"
#include "model_store/sources/transfer.h"
#include "serve/base/status.h"

namespace serve {

/// How much of a file is there. `total` is 0 as long as nobody knows.
using Progress = std::function<void(std::uint64_t received, std::uint64_t total)>;

struct FetchLimits {
  std::uint64_t max_bytes = 8ULL << 30;
  std::chrono::milliseconds timeout{600'000};  // of the whole fetch
  int max_redirects = 5;
  int connections = 4;                     // ranges of one large file that are fetched at once
  std::uint64_t part_bytes = 16ULL << 20;  // of one range
};

/// How one file is asked for.
struct DownloadPlan {
  std::string shown;  // the URI in messages; nothing secret
  /// The next request, without Range: URL and headers. Called from several threads, one at a time.
  std::function<Result<GetCall>()> request;
  /// Says why an answer that is no content (not 200, 206) is none. Empty: by its status.
  std::function<std::string(const GetAnswer&)> explain;
  /// After an answer that is no content: whether `request` would now give another one that may do better (a
  /// new token, the right region). May be empty.
  std::function<bool(const GetAnswer&)> correct;
  /// The request that follows a redirect, or why it is not followed. Empty: none is.
  std::function<Result<GetCall>(const std::string& url)> redirect;
  /// The first answer with content, from which on the file must not change.
  std::function<void(const HttpAnswer&)> pin;
  bool etag_is_md5 = false;  // of the whole file, where it has that form
};

struct Downloaded {
  std::uint64_t size = 0;
  std::string validator;  // ETag or Last-Modified: changes with the content; empty: the server tells none
  HttpAnswer head;        // of the first answer, without a body
  bool known = false;     // `is_known` said so: nothing was written
};

/// Fetches one file into `partial`.
///
/// Large files come in ranges, several at once. A connection that breaks is taken up again where it broke, as
/// long as ETag (else Last-Modified) says that it is the same file; 408, 429 and 5xx are asked again, with
/// waits. With `keep`, `partial` and `partial`.state stay after an error, and the next call goes on with
/// them. The content is compared with the checksums that the server tells (x-goog-hash, an ETag that is an
/// MD5). `is_known(validator)`, if given, may end it before anything is transferred.
///
/// Errors: kDownloadFailed, with TorchServe's text and the reason. Threads: any; blocks, and starts threads
/// of its own meanwhile.
Result<Downloaded> Download(const DownloadPlan& plan, const FetchLimits& limits,
                            const std::filesystem::path& partial, bool keep, const Progress& progress = {},
                            const std::function<bool(const std::string& validator)>& is_known = {});

/// `Failed to download archive from: <shown> (<why>)`.
Status DownloadFailed(const std::string& shown, std::string_view why);

}  // namespace serve
