#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "serve/http/codec.h"
#include "serve/http/io_loop.h"
#include "serve/http/prediction.h"
#include "serve/http/routes.h"

namespace serve {
namespace {

constexpr std::int64_t kLongestTimeoutMs = 24 * 60 * 60 * 1000;

}  // namespace

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

namespace {

/// nullptr: the client speaks of no sequence. Few requests do, so the fields are looked at once, by length.
Result<std::shared_ptr<const SequenceAsk>> ReadSequence(const HttpRequest& request,
                                                        const SequenceNames& names) {
  std::shared_ptr<SequenceAsk> ask;
  for (const HttpRequest::Field& field : request.fields) {
    for (const std::string* name : {&names.id, &names.start, &names.end}) {
      if (!EqualsIgnoreCase(field.name, *name)) continue;
      if (!ask) ask = std::make_shared<SequenceAsk>();
      if (name == &names.id) {
        if (!IsSequenceId(field.value)) {
          return InvalidArgument(fmt::format("{}: {}", *name, kSequenceIdForm));
        }
        ask->id = field.value;
        continue;
      }
      const bool yes = EqualsIgnoreCase(field.value, "true") || field.value == "1";
      if (!yes && !EqualsIgnoreCase(field.value, "false") && field.value != "0") {
        return InvalidArgument(fmt::format("{} must be `true` or `false`, not `{}`", *name, field.value));
      }
      (name == &names.start ? ask->start : ask->end) = yes;
    }
  }
  return std::shared_ptr<const SequenceAsk>(std::move(ask));
}

}  // namespace

void RunSoon(ModelHandle model) {
  IoLoop* loop = IoLoop::Current();
  const void* key = model.get();
  loop->RunSoon(key, [model = std::move(model)]() mutable {
    if (model->RunBorrowed()) RunSoon(std::move(model));
  });
}

namespace {

/// SageMaker's call: the model is a parameter of the query or of the form.
TimePoint Invocation(InferenceApi& api, const HttpLimits& limits, HttpRequest& http, ReplySender sender) {
  Result<Request> request = DecodeRequest(http, limits);
  if (!request) return Refuse(request.error(), std::move(sender));
  if (Status status = AddQueryParts(http, limits, *request); !status.ok())
    return Refuse(status, std::move(sender));
  std::string model;
  for (const RequestPart& part : request->parts) {
    if (part.name == "model_name") model = part.value;
  }
  if (model.empty()) model = api.OnlyModel();
  if (model.empty()) return Refuse(InvalidArgument("Parameter model_name is required."), std::move(sender));
  return StartPrediction(api, http, model, {}, std::move(request), std::move(sender));
}

/// Routes on which the query brings inputs beside the body.
TimePoint PredictWithQuery(InferenceApi& api, const HttpLimits& limits, HttpRequest& http,
                           ReplySender sender) {
  Result<Request> request = DecodeRequest(http, limits);
  if (!request) return Refuse(request.error(), std::move(sender));
  if (Status status = AddQueryParts(http, limits, *request); !status.ok())
    return Refuse(status, std::move(sender));
  return StartPrediction(api, http, http.PathParameter("model"), http.PathParameter("version"),
                         std::move(request), std::move(sender));
}

}  // namespace

TimePoint Refuse(const Status& status, ReplySender&& sender) {
  std::move(sender).Send(ErrorReply(status));
  return TimePoint::max();
}

TimePoint StartPrediction(InferenceApi& api, const HttpRequest& http, std::string_view model,
                          std::string_view version, Result<Request>&& request, ReplySender&& sender) {
  if (!request) return Refuse(request.error(), std::move(sender));
  auto context = ReadContext(http);
  if (!context) return Refuse(context.error(), std::move(sender));
  auto sequence = ReadSequence(http, api.sequence_names());
  if (!sequence) return Refuse(sequence.error(), std::move(sender));
  context->sequence = std::move(*sequence);
  context->cancelled = sender.cancelled();
  context->trace = sender.trace();
  if (!http.http_1_0) context->parts = sender.parts();  // HTTP/1.0 knows no chunks
  PredictCall call{model, version, std::move(*request), std::move(*context),
                   [&http](std::string_view name) { return http.Header(name); }};
  auto render = [&api, sender = std::move(sender)](Result<Prediction> predicted) mutable {
    // On whatever thread computed it; rendering waits for the I/O thread.
    std::move(sender).Send([&api, predicted = std::move(predicted)]() mutable {
      if (!predicted) return ErrorReply(predicted.error());
      const std::shared_ptr<const SequenceAsk> sequence = predicted->hint.sequence;
      auto response = api.Render(std::move(*predicted));
      if (!response) return ErrorReply(response.error());
      HttpReply reply;
      if (sequence) reply.extra_fields = fmt::format("{}: {}\r\n", api.sequence_names().id, sequence->id);
      if (response->json_bytes) {
        reply.extra_fields += fmt::format("inference-header-content-length: {}\r\n", *response->json_bytes);
      }
      reply.body = std::move(response->body);
      reply.content_type = response->content_type;
      return reply;
    });
  };
  InferenceApi::Accepted accepted = api.Predict(std::move(call), std::move(render));
  if (accepted.run_here) RunSoon(std::move(accepted.run_here));
  return accepted.deadline;
}

HttpReply NoExplanation(const InferenceApi& api, std::string_view model, std::string_view version) {
  const Result<ModelHandle> found = api.Find(model, version);
  if (!found) return ErrorReply(found.error());
  const VersionInfo& info = (*found)->info();
  return ErrorReply(
      Status{Code::kNotImplemented,
             fmt::format("Model \"{}\" version {} has no explanations: its handler `{}` only predicts.",
                         info.name, info.version, info.handler.empty() ? "tensor" : info.handler)});
}

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
    return StartPrediction(api, request, request.PathParameter("model"), request.PathParameter("version"),
                           DecodeRequest(request, limits), std::move(sender));
  };
  const auto explain = [&api](HttpRequest& request) {
    return NoExplanation(api, request.PathParameter("model"), request.PathParameter("version"));
  };
  // First what has to be found fastest.
  for (const Method method : {Method::kPost, Method::kPut}) {
    router.Async(method, "/predictions/{model}", predict);
    router.Async(method, "/predictions/{model}/{version}", predict);
    router.Async(method, "/predictions/{model}/{version}/{url_path...}", predict);
  }
  for (const Method method : {Method::kPost, Method::kPut}) {
    router.Inline(method, "/explanations/{model}", explain);
    router.Inline(method, "/explanations/{model}/{version}", explain);
    router.Inline(method, "/explanations/{model}/{version}/{url_path...}", explain);
  }
  AddKServeRoutes(router, api, limits);
  const auto invocation = [&api, limits](HttpRequest& request, ReplySender sender) {
    return Invocation(api, limits, request, std::move(sender));
  };
  const auto with_query = [&api, limits](HttpRequest& request, ReplySender sender) {
    return PredictWithQuery(api, limits, request, std::move(sender));
  };
  for (const Method method : {Method::kGet, Method::kPost, Method::kPut}) {
    router.Async(method, "/invocations", invocation);
    router.Async(method, "/models/{model}/invoke", with_query);
    router.Async(method, "/{model}/predict", with_query);
    router.Async(method, "/{model}/{version}/predict", with_query);
  }
  return router;
}

}  // namespace serve
