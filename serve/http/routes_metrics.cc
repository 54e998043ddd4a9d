#include "serve/http/routes.h"
#include "serve/http/url.h"

namespace serve {

Router MetricsRouter(Metrics& metrics) {
  Router router;
  router.Inline(Method::kGet, "/metrics", [&metrics](HttpRequest& request) {
    const auto query = QueryParameters::Parse(request.query);
    if (!query) return ErrorReply(query.error());
    HttpReply reply;
    reply.body = metrics.Text(query->All("name[]"));
    reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return reply;
  });
  return router;
}

}  // namespace serve
