#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// What flambeau-load sends, where, and for how long. Every bound has a value: a run always ends.
struct LoadOptions {
  std::string host = "127.0.0.1";
  std::string port = "8080";
  std::string path = "/";
  std::string method;                // empty: POST with a body, else GET
  std::vector<std::string> headers;  // "Name: value"
  std::vector<std::string> bodies;   // sent one after the other, over and over; none: requests without a body

  int connections = 1;
  int threads = 1;
  double rate = 0;                 // requests a second of all connections together; 0: closed loop
  std::uint64_t max_requests = 0;  // 0: only the duration ends the run
  std::chrono::nanoseconds warmup{0};
  std::chrono::nanoseconds duration = std::chrono::seconds(10);
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);  // of one request, from its sending
};

/// Fills host, port and path from `http://HOST[:PORT][/PATH]`; HOST may be an IPv6 address in brackets.
/// Errors: kInvalidArgument for everything else, https included.
Status SetUrl(const std::string& url, LoadOptions& options);

/// The bytes of one request for each body, head included, as they go over the wire.
std::vector<std::string> RenderRequests(const LoadOptions& options);

}  // namespace serve
