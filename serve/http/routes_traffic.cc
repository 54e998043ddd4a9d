#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "serve/http/codec.h"
#include "serve/http/management_parameters.h"
#include "serve/http/routes.h"

namespace serve {
namespace {

using SetPlan = Result<ManagementReply> (TrafficApi::*)(const std::string&, const nlohmann::json&);

HttpReply Set(TrafficApi& api, const HttpRequest& request, SetPlan set) {
  nlohmann::json body;
  if (Status status = DecodeJsonObject(request, body); !status.ok()) return ErrorReply(status);
  return ToReply((api.*set)(request.PathParameter("model"), body));
}

HttpReply Promote(TrafficApi& api, const HttpRequest& request) {
  const auto parameters = Parameters::Read(request, Parameters::Body::kJson);
  if (!parameters) return ErrorReply(parameters.error());
  parameters->WarnOfUnknown(request, {"version"});
  const auto version = parameters->Text("version");
  if (!version) return ErrorReply(version.error());
  return ToReply(api.Promote(request.PathParameter("model"), version->value_or("")));
}

}  // namespace

Router TrafficRouter(TrafficApi& api, boost::asio::thread_pool& pool) {
  Router router;
  const auto add = [&](Method method, const char* pattern, RouteFunction function) {
    router.Blocking(method, pattern, std::move(function), pool);
  };
  add(Method::kGet, "/traffic/{model}",
      [&api](HttpRequest& request) { return ToReply(api.Describe(request.PathParameter("model"))); });
  add(Method::kPut, "/traffic/{model}",
      [&api](HttpRequest& request) { return Set(api, request, &TrafficApi::Replace); });
  add(Method::kPatch, "/traffic/{model}",
      [&api](HttpRequest& request) { return Set(api, request, &TrafficApi::Change); });
  add(Method::kDelete, "/traffic/{model}",
      [&api](HttpRequest& request) { return ToReply(api.Remove(request.PathParameter("model"))); });
  add(Method::kPost, "/traffic/{model}/promote",
      [&api](HttpRequest& request) { return Promote(api, request); });
  add(Method::kPost, "/traffic/{model}/rollback",
      [&api](HttpRequest& request) { return ToReply(api.Rollback(request.PathParameter("model"))); });
  return router;
}

}  // namespace serve
