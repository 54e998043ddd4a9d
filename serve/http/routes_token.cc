#include <optional>
#include <string>

#include "serve/http/routes.h"
#include "serve/http/url.h"

namespace serve {
namespace {

HttpReply Unauthenticated(const Status& status) {
  HttpReply reply = ErrorReply(status);
  reply.extra_fields = "WWW-Authenticate: Bearer\r\n";
  return reply;
}

HttpReply Refresh(TokenAuthority& tokens, const HttpRequest& request) {
  const auto query = QueryParameters::Parse(request.query);
  if (!query) return ErrorReply(query.error());
  const std::string* type = query->Find("type");
  const Status status = tokens.Refresh(type == nullptr ? "" : *type, request.Header("authorization"));
  if (status.code == Code::kUnauthenticated) return Unauthenticated(status);
  if (!status.ok()) return ErrorReply(status);
  HttpReply reply;
  reply.body = "\n";  // as the reference: the new key is in the file alone
  return reply;
}

}  // namespace

Router TokenRouter(TokenAuthority& tokens, boost::asio::thread_pool& pool) {
  Router router;
  for (const Method method : {Method::kGet, Method::kPost, Method::kPut, Method::kDelete}) {
    router.Blocking(
        method, "/token", [&tokens](HttpRequest& request) { return Refresh(tokens, request); }, pool);
  }
  return router;
}

RequestGuard TokenGuard(const TokenAuthority& tokens, TokenScope scope) {
  return [&tokens, scope](const HttpRequest& request, HttpReply& refusal) {
    if (request.CountHeaders("authorization") == 1 && tokens.Allows(scope, request.Header("authorization"))) {
      return true;
    }
    refusal = Unauthenticated({Code::kUnauthenticated,
                               "Token Authorization failed. Token either incorrect, expired, or not provided "
                               "correctly"});
    return false;
  };
}

}  // namespace serve
