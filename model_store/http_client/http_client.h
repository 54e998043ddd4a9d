#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/base/status.h"

namespace serve {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// How a https:// server is known, and who we are to it.
struct HttpTls {
  std::string ca_file;      // PEM, instead of the system's; empty: the system's
  bool verify = true;       // off: any server is believed
  std::string certificate;  // PEM, for a server that asks clients for one
  std::string key;          // PEM, of the certificate
};

struct HttpCall {
  std::string method = "GET";
  std::string url;  // http:// or https://
  HttpHeaders headers;
  std::string body;
  HttpTls tls{};
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{60'000};  // of the whole call; 0: no limit but stall_timeout
  std::size_t max_response_bytes = 64U << 20;
  bool use_proxy = true;                  // off: never, for what only this machine can be asked
  std::chrono::seconds stall_timeout{0};  // longest time without a byte in either direction; 0: no limit
  std::filesystem::path body_file{};      // sent as the body, in blocks, instead of `body`
  /// Takes the body of an answer 2xx piece by piece, instead of `HttpAnswer::body` and without
  /// max_response_bytes. False ends the call (kPayloadTooLarge).
  std::function<bool(std::string_view)> sink{};
  std::string start_advice = "start it with `flambeau serve`";  // for the text of a refused connection
};

struct HttpAnswer {
  int status = 0;
  HttpHeaders headers;  // names as the server spelt them
  std::string body;

  /// The first header of that name, in any case; empty when there is none.
  [[nodiscard]] std::string_view Header(std::string_view name) const;
};

/// One HTTP call. Redirects are answers, not followed; proxies of the environment are used, but not for
/// loopback. Any HTTP status is an answer, not an error.
///
/// Errors: kInvalidArgument (URL, scheme), kUnavailable (no connection: refused, unknown host),
/// kDeadlineExceeded, kPayloadTooLarge (answer above max_response_bytes), kNotFound (body_file),
/// kPermissionDenied (TLS: unknown issuer, wrong name), kInternal (connection broken). Only after
/// kUnavailable the server surely saw nothing of the call. The text names the URL without user and password,
/// what failed, and what to do. Threads: any; each call makes its own connection and blocks until it is
/// answered.
Result<HttpAnswer> CallHttp(const HttpCall& call);

/// Percent-encodes everything but letters, digits and `-._~`: for one path segment or query value.
std::string UrlEncode(std::string_view text);

}  // namespace serve
