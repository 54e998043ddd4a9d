#pragma once

#include <boost/asio/thread_pool.hpp>

#include "serve/api/inference_api.h"
#include "serve/api/management_api.h"
#include "serve/api/traffic_api.h"
#include "serve/api/workflow_api.h"
#include "serve/http/options.h"
#include "serve/http/router.h"
#include "serve/security/tokens.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// GET /ping; POST or PUT on /predictions/{model}[/{version}[/{url_path...}]] and /explanations/…;
/// /invocations, /models/{model}/invoke and the legacy /{model}[/{version}]/predict (also GET, with inputs in
/// the query); KServe v1 under /v1, v2 under /v2.
///
/// Headers: X-Request-Timeout-Ms (1 to 86,400,000) is the request's deadline, X-Request-Priority (high,
/// normal, low)
///          its class; anything else in them is 400.
/// `api` is borrowed and outlives the listener. Source: TorchServe's inference API.
Router InferenceRouter(InferenceApi& api, const HttpLimits& limits);

/// GET /ping and /status, and TorchServe's management API under /models. Its calls run on `pool`: they read
/// files and wait; the first two answer at once, whatever the pool does. Everything is borrowed and outlives
/// the listener.
Router ManagementRouter(ManagementApi& management, InferenceApi& inference, boost::asio::thread_pool& pool);

/// KServe's v1 and v2 (open inference protocol) routes. Their bodies are JSON whatever the Content-Type says.
void AddKServeRoutes(Router& router, InferenceApi& api, const HttpLimits& limits);
/// GET /v1/models/{model}: {"name", "ready"}, on both listeners.
HttpReply ModelReadyV1(const InferenceApi& api, const HttpRequest& request);

/// POST or PUT on /wfpredict/{workflow}, with the headers of a prediction.
Router WorkflowPredictionRouter(WorkflowApi& api, const HttpLimits& limits);
/// TorchServe's workflow management under /workflows; calls run on `pool`.
Router WorkflowManagementRouter(WorkflowApi& api, boost::asio::thread_pool& pool);

/// GET, PUT, PATCH, DELETE /traffic/{model}; POST /traffic/{model}/promote and /rollback. The calls run on
/// `pool`.
Router TrafficRouter(TrafficApi& api, boost::asio::thread_pool& pool);

/// GET /metrics, with TorchServe's `name[]` filter.
Router MetricsRouter(Metrics& metrics);

/// /token?type=inference|management, by any method: TorchServe's renewal of a key. It checks the API key by
/// itself.
Router TokenRouter(TokenAuthority& tokens, boost::asio::thread_pool& pool);

/// For Router::Protect: 401 with TorchServe's text for a request without a key of `scope`.
RequestGuard TokenGuard(const TokenAuthority& tokens, TokenScope scope);

/// GET /ping: 200 Healthy, or 503 Unhealthy with the reason.
HttpReply Ping(const InferenceApi& api);

}  // namespace serve
