#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "model_store/http_client/http_client.h"
#include "serve/base/status.h"

namespace serve {

/// One GET request.
struct GetCall {
  std::string url;  // http:// or https://
  HttpHeaders headers;
  std::string ca_file;        // PEM, instead of the system's; empty: the system's
  bool verify_tls = true;     // off: any server is believed
  std::string certificate;    // PEM, for a server that asks clients for one
  std::string key;            // PEM, of the certificate
  bool may_be_local = false;  // the address may be one of IsForbiddenAddress
  std::chrono::steady_clock::time_point deadline;
};

/// How it ended, and what the server said.
struct GetAnswer {
  enum class End {
    kComplete,      // all of the answer arrived
    kRefusedByUs,   // `head` or `bytes` gave false
    kBroken,        // the connection broke, or nothing came for half a minute
    kNoConnection,  // nobody there
    kTimeout,       // the deadline
    kForbidden,     // a link-local or metadata address
    kFailed,        // TLS, an unusable URL, …
  };
  End end = End::kFailed;
  HttpAnswer answer;     // `body`: of any status but 200 and 206, at most 16 KiB of it
  std::string redirect;  // where a 3xx leads, as a whole URL
  std::string detail;    // libcurl's words; empty when complete
};

/// Sends it and hands the body of a 200 or 206 to `bytes` as it arrives; `head` is asked once before, when
/// the headers are known. Redirects are answers. The address is checked when it is connected to, whatever a
/// name resolved to before. Proxies of the environment are used, but not for loopback. Threads: any; blocks.
GetAnswer GetHttp(const GetCall& call, const std::function<bool(const HttpAnswer&)>& head,
                  const std::function<bool(std::string_view)>& bytes);

/// The host of a URL; empty when it is none.
std::string HostOfUrl(const std::string& url);

}  // namespace serve
