#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "serve/base/log.h"

namespace serve {

/// One answered request; the views only need to live until WriteAccessLog returns.
struct AccessRecord {
  std::string_view remote;  // "/127.0.0.1:64003"
  std::string_view method;  // empty: the header could not be read
  std::string_view target;
  bool http_1_0 = false;
  int status = 0;  // 499: the client went away before the answer
  std::chrono::nanoseconds duration{0};
  // Only JSON lines have the rest.
  std::size_t bytes_in = 0;
  std::size_t bytes_out = 0;
  std::string_view request_id;
  std::string_view model;
  std::string_view model_version;
  std::string_view client;  // address of the client behind a proxy; empty: `remote` is the client
  std::string_view user_agent;
  const TraceContext* trace = nullptr;  // null: none
};

struct HttpRequest;
/// The address that the outermost of `proxies` has seen: the last but `proxies - 1` of X-Forwarded-For.
/// Empty: there are not so many, or `proxies` is 0.
std::string_view ForwardedClient(const HttpRequest& request, int proxies);

/// The line for one request, text (TorchServe's form) or JSON. What the client chose is escaped: it can
/// neither start a line nor end a quote.
std::string AccessLine(const AccessRecord& record, LogFormat format);
/// Adds it to the calling thread's lines, in the format that is set; they go to the writer when 32 KB
/// have come together.
void WriteAccessLog(const AccessRecord& record);
/// Hands over the calling thread's lines now: the loop does it in each sweep, so that no line waits long.
void FlushAccessLog();

}  // namespace serve
