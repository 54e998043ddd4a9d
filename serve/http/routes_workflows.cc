#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "serve/http/codec.h"
#include "serve/http/io_loop.h"
#include "serve/http/management_parameters.h"
#include "serve/http/prediction.h"
#include "serve/http/routes.h"

namespace serve {
namespace {

/// The request's own I/O thread.
WorkflowThread ThisThread() {
  return {[loop = IoLoop::Current()->shared_from_this()](UniqueFunction<void()> function) {
            loop->Post(std::move(function));
          },
          RunSoon};
}

TimePoint Predict(WorkflowApi& api, const HttpLimits& limits, HttpRequest& http, ReplySender sender) {
  Result<Request> request = DecodeRequest(http, limits);
  if (!request) return Refuse(request.error(), std::move(sender));
  Result<RequestContext> context = ReadContext(http);
  if (!context) return Refuse(context.error(), std::move(sender));
  context->cancelled = sender.cancelled();
  auto answer = [sender = std::move(sender)](Result<Response> result) mutable {
    if (!result) return std::move(sender).Send(ErrorReply(result.error()));
    HttpReply reply;
    reply.body = std::move(result->body);
    reply.content_type = result->content_type;
    std::move(sender).Send(std::move(reply));
  };
  return api.Predict(http.PathParameter("workflow"), std::move(*request), std::move(*context), ThisThread(),
                     std::move(answer));
}

HttpReply Register(WorkflowApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kJsonOrForm);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"url", "workflow_name", "s3_sse_kms"});
  Status status;
  std::optional<std::string> url;
  std::optional<std::string> name;
  Take(parameters->Text("url"), url, status);
  Take(parameters->Text("workflow_name"), name, status);
  if (!status.ok()) return ErrorReply(status);
  if (!url) return ErrorReply(InvalidArgument("Parameter url is required."));
  if (name && name->empty()) name.reset();
  return ToReply(api.Register(*url, name));
}

}  // namespace

Router WorkflowPredictionRouter(WorkflowApi& api, const HttpLimits& limits) {
  Router router;
  for (const Method method : {Method::kPost, Method::kPut}) {
    router.Async(method, "/wfpredict/{workflow}", [&api, limits](HttpRequest& request, ReplySender sender) {
      return Predict(api, limits, request, std::move(sender));
    });
  }
  return router;
}

Router WorkflowManagementRouter(WorkflowApi& api, boost::asio::thread_pool& pool) {
  Router router;
  router.Blocking(
      Method::kGet, "/workflows", [&api](HttpRequest& request) { return ListPage(api, request); }, pool);
  router.Blocking(
      Method::kPost, "/workflows", [&api](HttpRequest& request) { return Register(api, request); }, pool);
  router.Blocking(
      Method::kGet, "/workflows/{workflow}",
      [&api](HttpRequest& request) { return ToReply(api.Describe(request.PathParameter("workflow"))); },
      pool);
  router.Blocking(
      Method::kDelete, "/workflows/{workflow}",
      [&api](HttpRequest& request) { return ToReply(api.Unregister(request.PathParameter("workflow"))); },
      pool);
  return router;
}

}  // namespace serve
