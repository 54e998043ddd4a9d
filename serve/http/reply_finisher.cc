#include "serve/http/reply_finisher.h"

#include <string_view>
#include <utility>

#include "serve/http/content_encoding.h"

namespace serve {
namespace {

std::string CorsFields(const HttpLimits& limits) {
  std::string fields;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    fields += name;
    fields += value;
    fields += "\r\n";
  };
  add("access-control-allow-origin: ", limits.cors_allowed_origin);
  add("access-control-allow-methods: ", limits.cors_allowed_methods);
  add("access-control-allow-headers: ", limits.cors_allowed_headers);
  return fields;
}

bool IsKServePath(std::string_view path) {
  return path.starts_with("/v2/") || path.starts_with("/v1/") || path == "/v2";
}

/// `{"code": …, "type": …, "message": M}` of ErrorReply → with `"error": M` at its end.
void AddErrorMember(std::string& body) {
  constexpr std::string_view kMessage = "\"message\": ";
  constexpr std::string_view kEnd = "\n}\n";
  const std::size_t found = body.find(kMessage);
  if (found == std::string::npos || !body.ends_with(kEnd)) return;
  const std::size_t start = found + kMessage.size();
  const std::string message = body.substr(start, body.size() - kEnd.size() - start);
  body.resize(body.size() - kEnd.size());
  body += ",\n  \"error\": ";
  body += message;
  body += kEnd;
}

}  // namespace

ReplyFinisher::ReplyFinisher(const HttpLimits& limits)
    : cors_fields_(CorsFields(limits)),
      answers_preflight_(!limits.cors_allowed_origin.empty()),
      gzip_from_(limits.gzip_response_min_bytes),
      always_(!cors_fields_.empty() || gzip_from_ > 0) {}

void ReplyFinisher::Finish(const HttpRequest& request, HttpReply& reply) const {
  if (reply.status >= 400 && IsKServePath(request.path)) AddErrorMember(reply.body);
  if (answers_preflight_ && request.method == Method::kOptions && !reply.close &&
      !request.Header("access-control-request-method").empty()) {
    reply = HttpReply();
    reply.content_type = {};
  }
  reply.extra_fields += cors_fields_;
  if (gzip_from_ == 0 || reply.body.size() < gzip_from_) return;
  reply.extra_fields += "vary: accept-encoding\r\n";
  if (!AcceptsGzip(request.Header("accept-encoding"))) return;
  std::string packed = Gzip(reply.body);
  if (packed.empty() || packed.size() >= reply.body.size()) return;
  reply.body = std::move(packed);
  reply.extra_fields += "content-encoding: gzip\r\n";
}

}  // namespace serve
