#pragma once

#include <string>

#include "serve/http/http_message.h"
#include "serve/http/options.h"

namespace serve {

/// The last hand on every answer of a listener, before its head is written:
///
///   Access-Control-Allow-*  as configured, verbatim, on every answer; a browser's preflight (OPTIONS with
///                           Access-Control-Request-Method) is answered 200 by it, on every path
///   Content-Encoding: gzip  for a body of gzip_response_min_size bytes and more, when the client accepts it
///   "error"                 beside code, type and message in the errors of KServe's paths (/v1/…, /v2/…):
///   the member
///                           that its clients read
///
/// Threads: any; nothing changes after construction.
class ReplyFinisher {
 public:
  explicit ReplyFinisher(const HttpLimits& limits);

  /// False: only errors need it.
  [[nodiscard]] bool always() const { return always_; }
  void Finish(const HttpRequest& request, HttpReply& reply) const;

 private:
  const std::string cors_fields_;
  const bool answers_preflight_;
  const std::size_t gzip_from_;  // 0: never
  const bool always_;
};

}  // namespace serve
