#include <charconv>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/http/codec.h"
#include "serve/http/prediction.h"
#include "serve/http/routes.h"

namespace serve {
namespace {

using nlohmann::ordered_json;

HttpReply JsonReply(const ordered_json& json, int status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.body = json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return reply;
}

ordered_json SpecsJson(const std::vector<InferSpec>& specs) {
  ordered_json json = ordered_json::array();
  for (const InferSpec& spec : specs) {
    json.push_back({{"name", spec.name}, {"datatype", DatatypeName(spec.datatype)}, {"shape", spec.shape}});
  }
  return json;
}

HttpReply ServerMetadata() {
  return JsonReply(
      {{"name", "flambeau"}, {"version", FLAMBEAU_VERSION}, {"extensions", {"binary_tensor_data"}}});
}

HttpReply ServerReady(const InferenceApi& api) {
  std::string why;
  if (api.Ready(&why)) return JsonReply({{"ready", true}});
  return JsonReply({{"ready", false}, {"error", why}}, 503);
}

HttpReply ModelMetadata(const InferenceApi& api, const HttpRequest& request) {
  const auto metadata = api.Describe(request.PathParameter("model"), request.PathParameter("version"));
  if (!metadata) return ErrorReply(metadata.error());
  return JsonReply({{"name", metadata->name},
                    {"versions", metadata->versions},
                    {"platform", metadata->platform},
                    {"inputs", SpecsJson(metadata->inputs)},
                    {"outputs", SpecsJson(metadata->outputs)}});
}

HttpReply ModelReadyV2(const InferenceApi& api, const HttpRequest& request) {
  const auto found = api.Find(request.PathParameter("model"), request.PathParameter("version"));
  if (!found) return ErrorReply(found.error());
  const std::string& name = (*found)->info().name;
  if ((*found)->RunningWorkers() > 0) return JsonReply({{"name", name}, {"ready", true}});
  return JsonReply({{"name", name}, {"ready", false}, {"error", "model " + name + " has no worker"}}, 503);
}

HttpReply ListModels(const InferenceApi& api) { return JsonReply({{"models", api.ModelNames()}}); }

Result<Request> DecodeV2(HttpRequest& http, const HttpLimits& limits) {
  Result<Request> request = DecodeKServe(http, limits, Protocol::kKServeV2);
  const std::string_view text = http.Header("inference-header-content-length");
  if (!request || text.empty()) return request;
  std::size_t bytes = 0;
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, bytes);
  if (error != std::errc() || read != end || bytes > request->body.size()) {
    return InvalidArgument(fmt::format(
        "Inference-Header-Content-Length must say how much of the body is JSON, from 0 to {}, not `{}`",
        request->body.size(), text));
  }
  request->json_bytes = bytes;
  return request;
}

}  // namespace

HttpReply ModelReadyV1(const InferenceApi& api, const HttpRequest& request) {
  const auto found = api.Find(request.PathParameter("model"), {});
  if (!found) return ErrorReply(found.error());
  return JsonReply({{"name", (*found)->info().name}, {"ready", (*found)->RunningWorkers() > 0}});
}

void AddKServeRoutes(Router& router, InferenceApi& api, const HttpLimits& limits) {
  const auto get = [&](std::string pattern, RouteFunction function) {
    router.Inline(Method::kGet, std::move(pattern), std::move(function));
  };
  const auto explain = [&api](HttpRequest& request) {
    return NoExplanation(api, request.PathParameter("model"), {});
  };

  router.Async(
      Method::kPost, "/v1/models/{model}:predict", [&api, limits](HttpRequest& request, ReplySender sender) {
        return StartPrediction(api, request, request.PathParameter("model"), {},
                               DecodeKServe(request, limits, Protocol::kKServeV1), std::move(sender));
      });
  router.Inline(Method::kPost, "/v1/models/{model}:explain", explain);
  get("/v1/models/{model}", [&api](HttpRequest& request) { return ModelReadyV1(api, request); });
  get("/v1/models", [&api](HttpRequest&) { return ListModels(api); });

  const auto infer = [&api, limits](HttpRequest& request, ReplySender sender) {
    return StartPrediction(api, request, request.PathParameter("model"), request.PathParameter("version"),
                           DecodeV2(request, limits), std::move(sender));
  };
  get("/v2", [](HttpRequest&) { return ServerMetadata(); });
  get("/v2/health/live", [](HttpRequest&) { return JsonReply({{"live", true}}); });
  get("/v2/health/ready", [&api](HttpRequest&) { return ServerReady(api); });
  get("/v2/models", [&api](HttpRequest&) { return ListModels(api); });
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    get(model, [&api](HttpRequest& request) { return ModelMetadata(api, request); });
    get(model + "/ready", [&api](HttpRequest& request) { return ModelReadyV2(api, request); });
    router.Async(Method::kPost, model + "/infer", infer);
  }
  router.Inline(Method::kPost, "/v2/models/{model}/explain", explain);
}

}  // namespace serve
