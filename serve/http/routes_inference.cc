#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "serve/http/codec.h"
#include "serve/http/io_loop.h"
#include "serve/http/routes.h"

namespace serve {
namespace {

constexpr std::int64_t kLongestTimeoutMs = 24 * 60 * 60 * 1000;

/// Deadline and priority as the client's headers ask for them.
Result<RequestContext> ReadContext(const HttpRequest& request) {
  RequestContext context;
  context.arrival = request.arrival;
  const std::string_view timeout = request.Header("x-request-timeout-ms");
  if (!timeout.empty()) {
    std::int64_t milliseconds = 0;
    const char* end = timeout.data() + timeout.size();
    const auto [read, error] = std::from_chars(timeout.data(), end, milliseconds);
    if (error != std::errc() || read != end || milliseconds < 1 || milliseconds > kLongestTimeoutMs) {
      return InvalidArgument(fmt::format("X-Request-Timeout-Ms must be a whole number from 1 to {}, not `{}`",
                                         kLongestTimeoutMs, timeout));
    }
    context.deadline = request.arrival + std::chrono::milliseconds(milliseconds);
  }
  const std::string_view priority = request.Header("x-request-priority");
  if (EqualsIgnoreCase(priority, "high")) {
    context.priority = Priority::kHigh;
  } else if (EqualsIgnoreCase(priority, "low")) {
    context.priority = Priority::kLow;
  } else if (!priority.empty() && !EqualsIgnoreCase(priority, "normal")) {
    return InvalidArgument(
        fmt::format("X-Request-Priority must be `high`, `normal` or `low`, not `{}`", priority));
  }
  return context;
}

/// A small model runs on this thread, after the other connections that have something to read were read, so
/// that their requests share the batch.
void RunSoon(ModelHandle model) {
  IoLoop* loop = IoLoop::Current();
  const void* key = model.get();
  loop->RunSoon(key, [model = std::move(model)]() mutable {
    if (model->RunBorrowed()) RunSoon(std::move(model));
  });
}

/// Starts one prediction; returns the deadline of its answer.
TimePoint Predict(InferenceApi& api, const HttpLimits& limits, HttpRequest& http, ReplySender sender) {
  const auto refuse = [&](const Status& status) {
    std::move(sender).Send(ErrorReply(status));
    return TimePoint::max();
  };
  auto context = ReadContext(http);
  if (!context) return refuse(context.error());
  auto request = DecodeRequest(http, limits);
  if (!request) return refuse(request.error());

  context->cancelled = sender.cancelled();
  PredictCall call{http.PathParameter("model"), http.PathParameter("version"), std::move(*request),
                   std::move(*context)};
  auto render = [&api, sender = std::move(sender)](Result<Prediction> predicted) mutable {
    // On whatever thread computed it; rendering waits for the I/O thread.
    std::move(sender).Send([&api, predicted = std::move(predicted)]() mutable {
      if (!predicted) return ErrorReply(predicted.error());
      auto response = api.Render(std::move(*predicted));
      if (!response) return ErrorReply(response.error());
      HttpReply reply;
      reply.body = std::move(response->body);
      reply.content_type = response->content_type;
      return reply;
    });
  };
  InferenceApi::Accepted accepted = api.Predict(std::move(call), std::move(render));
  if (accepted.run_here) RunSoon(std::move(accepted.run_here));
  return accepted.deadline;
}

}  // namespace

HttpReply Ping(const InferenceApi& api) {
  HttpReply reply;
  std::string why;
  if (api.Ready(&why)) {
    reply.body = "{\n  \"status\": \"Healthy\"\n}\n";
    return reply;
  }
  reply.status = 503;
  reply.body = "{\n  \"status\": \"Unhealthy\",\n  \"reason\": ";
  AppendJsonString(reply.body, why);
  reply.body += "\n}\n";
  return reply;
}

Router InferenceRouter(InferenceApi& api, const HttpLimits& limits) {
  Router router;
  router.Inline(Method::kGet, "/ping", [&api](HttpRequest&) { return Ping(api); });
  const auto predict = [&api, limits](HttpRequest& request, ReplySender sender) {
    return Predict(api, limits, request, std::move(sender));
  };
  for (const Method method : {Method::kPost, Method::kPut}) {
    router.Async(method, "/predictions/{model}", predict);
    router.Async(method, "/predictions/{model}/{version}", predict);
  }
  return router;
}

}  // namespace serve
