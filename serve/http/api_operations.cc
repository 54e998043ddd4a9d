// One row for each route of the three listeners; a new route needs one here. A PUT that does what POST does
// has none of its own.
#include "serve/http/api_operations.h"

#include <algorithm>

namespace serve {
namespace {

constexpr Method kGet = Method::kGet;
constexpr Method kPost = Method::kPost;
constexpr Method kPut = Method::kPut;
constexpr Method kDelete = Method::kDelete;
constexpr Method kPatch = Method::kPatch;
constexpr Method kOptions = Method::kOptions;

constexpr std::string_view kPredictStatuses = "404 415 504";
constexpr std::string_view kRegisterQuery =
    "url:string model_name:string handler:string runtime:string batch_size:string max_batch_delay:string "
    "initial_workers:string synchronous:string response_timeout:string startup_timeout:string version:string "
    "input:string batch:string";
constexpr std::string_view kScaleQuery =
    "min_worker:string max_worker:string synchronous:string model_version:string number_gpu:string "
    "timeout:string";

constexpr Operation kOperations[] = {
    // Every listener
    {kOptions, "/", "apiDescription", "This document", ""},
    {kGet, "/api-description", "api-description", "This document", ""},
    {kGet, "/ping", "ping", "Whether the server is ready", "", BodyForm::kNone, AnswerForm::kHealth},
    {kGet, "/metrics", "metrics", "Metrics in Prometheus' text format", "name[]:string", BodyForm::kNone,
     AnswerForm::kMetrics},

    // Predictions
    {kPost, "/predictions/{model}", "predictions", "Predict with the default version", "",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/predictions/{model}/{version}", "version_predictions", "Predict with a version", "",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/predictions/{model}/{version}/{url_path...}", "path_predictions",
     "Predict with a version; the rest of the path is the handler's", "", BodyForm::kPrediction,
     AnswerForm::kPrediction, kPredictStatuses},
    {kOptions, "/predictions/{model}", "describe_predictions", "The operations of one model", "",
     BodyForm::kNone, AnswerForm::kDocument, "404"},
    {kOptions, "/predictions/{model}/{version}", "describe_version_predictions",
     "The operations of one version", "", BodyForm::kNone, AnswerForm::kDocument, "404"},
    {kPost, "/explanations/{model}", "explanations", "Explain a prediction; no handler does yet", "",
     BodyForm::kPrediction, AnswerForm::kNone, "404 501"},
    {kPost, "/explanations/{model}/{version}", "version_explanations",
     "Explain a prediction; no handler does yet", "", BodyForm::kPrediction, AnswerForm::kNone, "404 501"},
    {kPost, "/explanations/{model}/{version}/{url_path...}", "path_explanations",
     "Explain a prediction; no handler does yet", "", BodyForm::kPrediction, AnswerForm::kNone, "404 501"},

    // Other ways to a prediction; the query brings inputs too
    {kGet, "/invocations", "get_invocations", "Predict, as SageMaker asks", "model_name:string data:string",
     BodyForm::kNone, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/invocations", "invocations", "Predict, as SageMaker asks", "model_name:string",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},
    {kGet, "/models/{model}/invoke", "get_invoke", "Predict with the default version", "data:string",
     BodyForm::kNone, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/models/{model}/invoke", "invoke", "Predict with the default version", "", BodyForm::kPrediction,
     AnswerForm::kPrediction, kPredictStatuses},
    {kGet, "/{model}/predict", "get_predict", "Predict with the default version (old route)", "data:string",
     BodyForm::kNone, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/{model}/predict", "predict", "Predict with the default version (old route)", "",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},
    {kGet, "/{model}/{version}/predict", "get_version_predict", "Predict with a version (old route)",
     "data:string", BodyForm::kNone, AnswerForm::kPrediction, kPredictStatuses},
    {kPost, "/{model}/{version}/predict", "version_predict", "Predict with a version (old route)", "",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},

    // KServe v1
    {kPost, "/v1/models/{model}:predict", "v1_predict", "KServe v1: predict", "", BodyForm::kInstances,
     AnswerForm::kPredictions, kPredictStatuses},
    {kPost, "/v1/models/{model}:explain", "v1_explain", "KServe v1: explain; no handler does yet", "",
     BodyForm::kInstances, AnswerForm::kNone, "404 501"},
    {kGet, "/v1/models/{model}", "v1_ready", "KServe v1: whether a model has workers", "", BodyForm::kNone,
     AnswerForm::kModelReady, "404"},
    {kGet, "/v1/models", "v1_models", "KServe v1: the names of the models", "", BodyForm::kNone,
     AnswerForm::kModelNames},

    // KServe v2, the open inference protocol
    {kGet, "/v2", "v2_server", "KServe v2: what this server is", "", BodyForm::kNone, AnswerForm::kServer},
    {kGet, "/v2/health/live", "v2_live", "KServe v2: whether the server answers", "", BodyForm::kNone,
     AnswerForm::kLive},
    {kGet, "/v2/health/ready", "v2_server_ready", "KServe v2: whether all models are loaded", "",
     BodyForm::kNone, AnswerForm::kReady},
    {kGet, "/v2/models", "v2_models", "The names of the models", "", BodyForm::kNone,
     AnswerForm::kModelNames},
    {kGet, "/v2/models/{model}", "v2_model", "KServe v2: metadata of a model", "", BodyForm::kNone,
     AnswerForm::kModel, "404"},
    {kGet, "/v2/models/{model}/versions/{version}", "v2_version", "KServe v2: metadata of a version", "",
     BodyForm::kNone, AnswerForm::kModel, "404"},
    {kGet, "/v2/models/{model}/ready", "v2_model_ready", "KServe v2: whether a model has workers", "",
     BodyForm::kNone, AnswerForm::kModelReady, "404"},
    {kGet, "/v2/models/{model}/versions/{version}/ready", "v2_version_ready",
     "KServe v2: whether a version has workers", "", BodyForm::kNone, AnswerForm::kModelReady, "404"},
    {kPost, "/v2/models/{model}/infer", "v2_infer", "KServe v2: infer", "", BodyForm::kInfer,
     AnswerForm::kInfer, kPredictStatuses},
    {kPost, "/v2/models/{model}/versions/{version}/infer", "v2_version_infer",
     "KServe v2: infer with a version", "", BodyForm::kInfer, AnswerForm::kInfer, kPredictStatuses},
    {kPost, "/v2/models/{model}/explain", "v2_explain", "Explain; no handler does yet", "", BodyForm::kInfer,
     AnswerForm::kNone, "404 501"},

    // Management. Numbers that are none count as not given, so the document calls them strings.
    {kGet, "/models", "listModels", "The registered models", "limit:string next_page_token:string",
     BodyForm::kNone, AnswerForm::kModelList},
    {kPost, "/models", "registerModel", "Register a model of the store", kRegisterQuery, BodyForm::kRegister,
     AnswerForm::kStatus, "202 206 403 404 405 409 415"},
    {kGet, "/models/{model}", "describeModel", "The default version", "customized:string", BodyForm::kNone,
     AnswerForm::kDescription, "404"},
    {kPut, "/models/{model}", "setAutoScale", "Scale the workers of the default version", kScaleQuery,
     BodyForm::kNone, AnswerForm::kStatus, "202 206 404"},
    {kDelete, "/models/{model}", "unregisterModel", "Remove the default version", "", BodyForm::kNone,
     AnswerForm::kStatus, "403 404 405 408 409"},
    {kOptions, "/models/{model}", "describe_model_operations", "The operations of one model", "",
     BodyForm::kNone, AnswerForm::kDocument, "404"},
    {kGet, "/models/{model}/all", "allVersions_describeModel", "All versions", "customized:string",
     BodyForm::kNone, AnswerForm::kDescription, "404"},
    {kGet, "/models/{model}/{version}", "version_describeModel", "A version", "customized:string",
     BodyForm::kNone, AnswerForm::kDescription, "404"},
    {kPut, "/models/{model}/{version}", "version_setAutoScale", "Scale the workers of a version", kScaleQuery,
     BodyForm::kNone, AnswerForm::kStatus, "202 206 404"},
    {kDelete, "/models/{model}/{version}", "version_unregisterModel", "Remove a version", "", BodyForm::kNone,
     AnswerForm::kStatus, "403 404 405 408 409"},
    {kOptions, "/models/{model}/{version}", "describe_version_operations", "The operations of one version",
     "", BodyForm::kNone, AnswerForm::kDocument, "404"},
    {kPut, "/models/{model}/{version}/set-default", "setDefault", "Make a version the default", "",
     BodyForm::kNone, AnswerForm::kStatus, "404"},

    {kGet, "/status", "serverStatus", "Version, readiness and the last warnings and errors of the server", "",
     BodyForm::kNone, AnswerForm::kServerStatus},

    // Traffic between versions
    {kGet, "/traffic/{model}", "describeTraffic", "How the requests of a model are divided", "",
     BodyForm::kNone, AnswerForm::kTraffic, "404"},
    {kPut, "/traffic/{model}", "replaceTraffic", "Divide the requests of a model", "", BodyForm::kTraffic,
     AnswerForm::kTraffic, "404"},
    {kPatch, "/traffic/{model}", "changeTraffic", "Change the members that the body names", "",
     BodyForm::kTraffic, AnswerForm::kTraffic, "404"},
    {kDelete, "/traffic/{model}", "removeTraffic", "Everything to the default version", "", BodyForm::kNone,
     AnswerForm::kTraffic, "404"},
    {kPost, "/traffic/{model}/promote", "promoteVersion",
     "Everything to the version that is tried out, or to this one", "version:string", BodyForm::kRegister,
     AnswerForm::kTraffic, "404"},
    {kPost, "/traffic/{model}/rollback", "rollbackTraffic", "Back to what was before the last change", "",
     BodyForm::kNone, AnswerForm::kTraffic, "404 409"},

    // Workflows
    {kPost, "/wfpredict/{workflow}", "workflow_predictions", "Take a request through a workflow", "",
     BodyForm::kPrediction, AnswerForm::kPrediction, kPredictStatuses},
    {kGet, "/workflows", "listWorkflows", "The registered workflows", "limit:string next_page_token:string",
     BodyForm::kNone, AnswerForm::kWorkflowList},
    {kPost, "/workflows", "registerWorkflow", "Register a workflow and its models",
     "url:string workflow_name:string", BodyForm::kParameters, AnswerForm::kStatus, "404 405 409 415"},
    {kGet, "/workflows/{workflow}", "describeWorkflow", "A workflow and its nodes", "", BodyForm::kNone,
     AnswerForm::kWorkflow, "404"},
    {kDelete, "/workflows/{workflow}", "unregisterWorkflow", "Remove a workflow and its models", "",
     BodyForm::kNone, AnswerForm::kStatus, "404 405 408 409"},
};

}  // namespace

std::span<const Operation> Operations() { return kOperations; }

const Operation* FindOperation(Method method, std::string_view pattern) {
  const auto* found = std::find_if(
      std::begin(kOperations), std::end(kOperations),
      [&](const Operation& operation) { return operation.method == method && operation.pattern == pattern; });
  if (found != std::end(kOperations)) return found;
  return method == kPut ? FindOperation(kPost, pattern) : nullptr;
}

}  // namespace serve
