#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace serve {

/// Limits of every listener. Each is a setting (serve/config) with the default that stands here.
struct HttpLimits {
  std::size_t max_body_bytes = 6'553'500;  // TorchServe: max_request_size
  std::size_t max_header_bytes = 16 * 1024;
  std::size_t max_header_fields = 100;
  std::size_t max_form_parts = 1024;                 // of a multipart or urlencoded body
  std::size_t max_connections = 1024;                // per listener; one more is answered 503 and closed
  std::chrono::milliseconds header_timeout{10'000};  // first byte of a request → end of its header
  std::chrono::milliseconds body_timeout{60'000};    // end of header → end of body
  std::chrono::milliseconds idle_timeout{75'000};    // keep-alive connection without a request
  std::chrono::milliseconds write_timeout{60'000};   // a client that does not read its answer
  std::size_t max_stream_backlog = 1 << 20;  // bytes of one answer in parts that its client has not taken
  std::chrono::milliseconds linger_timeout{
      1'000};  // reading what a refused client still sends, before closing

  // Access-Control-Allow-* of every answer, verbatim; empty: the field is not sent.
  std::string cors_allowed_origin{};
  std::string cors_allowed_methods{};
  std::string cors_allowed_headers{};
  std::size_t gzip_response_min_bytes = 0;  // answers from this size on are packed; 0: none
  int trusted_proxies = 0;  // that add to X-Forwarded-For: which of its addresses is the client's. 0: none
};

}  // namespace serve
