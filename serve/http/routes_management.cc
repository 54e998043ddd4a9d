#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <functional>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/base/recent_problems.h"
#include "serve/http/management_parameters.h"
#include "serve/http/routes.h"
#include "serve/telemetry/process_stats.h"

namespace serve {
namespace {

HttpReply Register(ManagementApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kJson);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"url", "model_name", "handler", "runtime", "batch_size",
                                      "max_batch_delay", "initial_workers", "synchronous", "response_timeout",
                                      "startup_timeout", "version", "input", "batch", "s3_sse_kms"});
  Status status;
  std::optional<std::string> url;
  RegisterRequest call;
  Take(parameters->Text("url"), url, status);
  Take(parameters->Text("model_name"), call.model_name, status);
  Take(parameters->Text("handler"), call.handler, status);
  Take(parameters->Text("runtime"), call.runtime, status);
  Take(parameters->Text("version"), call.version, status);
  Take(parameters->Integer("batch_size"), call.batch_size, status);
  Take(parameters->Integer("max_batch_delay"), call.max_batch_delay_ms, status);
  Take(parameters->Integer("initial_workers"), call.initial_workers, status);
  Take(parameters->Integer("response_timeout"), call.response_timeout_s, status);
  Take(parameters->Integer("startup_timeout"), call.startup_timeout_s, status);
  Take(parameters->All("input"), call.inputs, status);
  Take(parameters->Text("batch"), call.batch, status);
  Take(parameters->Boolean("synchronous", true), call.synchronous, status);
  if (!status.ok()) return ErrorReply(status);
  if (!url) return ErrorReply(InvalidArgument("Parameter url is required."));
  call.url = std::move(*url);
  return ToReply(api.Register(call));
}

HttpReply Describe(ManagementApi& api, const HttpRequest& request, const std::string& version) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kNone);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"customized"});
  const auto customized = parameters->Boolean("customized", false);
  if (!customized) return ErrorReply(customized.error());
  return ToReply(api.Describe(request.PathParameter("model"), version, *customized));
}

HttpReply Scale(ManagementApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kNone);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(
      request, {"min_worker", "max_worker", "synchronous", "model_version", "number_gpu", "timeout"});
  Status status;
  std::optional<int> min_worker;
  std::optional<std::string> version;
  ScaleRequest call;
  call.model = request.PathParameter("model");
  call.version = request.PathParameter("version");
  Take(parameters->Integer("min_worker"), min_worker, status);
  Take(parameters->Integer("max_worker"), call.max_worker, status);
  Take(parameters->Boolean("synchronous", false), call.synchronous, status);
  Take(parameters->Text("model_version"), version, status);
  if (!status.ok()) return ErrorReply(status);
  call.min_worker = min_worker.value_or(1);
  if (call.version.empty() && version) call.version = std::move(*version);
  return ToReply(api.Scale(call));
}

std::string IsoTime(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

/// What somebody wants to know first who looks at this server.
HttpReply ServerStatus(const InferenceApi& inference) {
  using Clock = std::chrono::system_clock;
  const double started = ReadProcessStats().start_time_seconds;
  const double now = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
  std::string why;
  const bool ready = inference.Ready(&why);
  nlohmann::ordered_json json = {
      {"version", FLAMBEAU_VERSION},
      {"pid", ::getpid()},
      {"startTime", IsoTime(Clock::from_time_t(static_cast<std::time_t>(started)))},
      {"uptimeSeconds", std::max(0.0, std::floor(now - started))},
      {"ready", ready}};
  if (!ready) json["reason"] = why;
  nlohmann::ordered_json& problems = json["problems"] = nlohmann::ordered_json::array();
  for (const Problem& problem : RecentProblems()) {
    problems.push_back({{"time", IsoTime(problem.time)},
                        {"level", problem.level == LogLevel::kError ? "error" : "warning"},
                        {"message", problem.text},
                        {"times", problem.times}});
  }
  HttpReply reply;  // a log line may hold any bytes
  reply.body = json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  return reply;
}

}  // namespace

Router ManagementRouter(ManagementApi& management, InferenceApi& inference, boost::asio::thread_pool& pool) {
  Router router;
  ManagementApi& api = management;
  const auto blocking = [&](Method method, const char* pattern, RouteFunction function) {
    router.Blocking(method, pattern, std::move(function), pool);
  };
  const auto describe = [&api](HttpRequest& request) {
    return Describe(api, request, request.PathParameter("version"));
  };
  const auto scale = [&api](HttpRequest& request) { return Scale(api, request); };
  const auto unregister = [&api](HttpRequest& request) {
    return ToReply(api.Unregister(request.PathParameter("model"), request.PathParameter("version")));
  };

  router.Inline(Method::kGet, "/ping", [&inference](HttpRequest&) { return Ping(inference); });
  router.Inline(Method::kGet, "/status", [&inference](HttpRequest&) { return ServerStatus(inference); });
  router.Inline(Method::kGet, "/v1/models/{model}",
                [&inference](HttpRequest& request) { return ModelReadyV1(inference, request); });
  blocking(Method::kGet, "/models", [&api](HttpRequest& request) { return ListPage(api, request); });
  blocking(Method::kPost, "/models", [&api](HttpRequest& request) { return Register(api, request); });
  blocking(Method::kGet, "/models/{model}", describe);
  blocking(Method::kPut, "/models/{model}", scale);
  blocking(Method::kDelete, "/models/{model}", unregister);
  blocking(Method::kGet, "/models/{model}/all",
           [&api](HttpRequest& request) { return Describe(api, request, "all"); });
  blocking(Method::kGet, "/models/{model}/{version}", describe);
  blocking(Method::kPut, "/models/{model}/{version}", scale);
  blocking(Method::kDelete, "/models/{model}/{version}", unregister);
  blocking(Method::kPut, "/models/{model}/{version}/set-default", [&api](HttpRequest& request) {
    return ToReply(api.SetDefault(request.PathParameter("model"), request.PathParameter("version")));
  });
  return router;
}

}  // namespace serve
