#include "serve/http/api_description.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/http/api_operations.h"

namespace serve {
namespace {

using nlohmann::ordered_json;

/// Answers of the connection itself: a malformed request or header, a slow or too large one, no memory, too
/// many connections or a full queue.
constexpr std::string_view kEveryStatus = "400 408 413 417 431 500 503";
constexpr std::string_view kErrorStatuses[] = {"400", "403", "404", "405", "408", "409", "413",
                                               "415", "417", "431", "500", "501", "503", "504"};
constexpr std::string_view kJson = "application/json";

ordered_json Ref(std::string_view schema) {
  return {{"$ref", fmt::format("#/components/schemas/{}", schema)}};
}
ordered_json Type(std::string_view type) { return {{"type", type}}; }
ordered_json ArrayOf(ordered_json items) { return {{"type", "array"}, {"items", std::move(items)}}; }

ordered_json Object(std::initializer_list<std::pair<std::string_view, ordered_json>> members,
                    std::initializer_list<std::string_view> required) {
  ordered_json properties = ordered_json::object();
  for (const auto& [name, schema] : members) properties[std::string(name)] = schema;
  ordered_json object = {{"type", "object"}, {"properties", std::move(properties)}};
  if (required.size() > 0) object["required"] = required;
  return object;
}

ordered_json Schemas() {
  const ordered_json text = Type("string");
  const ordered_json integer = Type("integer");
  const ordered_json boolean = Type("boolean");
  ordered_json datatypes = ordered_json::array();
  for (const auto& row : kDatatypes) datatypes.push_back(row.first);
  const ordered_json datatype = {{"type", "string"}, {"enum", datatypes}};
  const ordered_json data = {{"type", "array"}, {"items", ordered_json::object()}, {"minItems", 1}};
  const ordered_json shape = {
      {"type", "array"}, {"items", {{"type", "integer"}, {"minimum", 0}}}, {"minItems", 1}};
  const ordered_json tensor =
      Object({{"name", text}, {"shape", shape}, {"datatype", datatype}, {"data", data}},
             {"name", "shape", "datatype", "data"});
  const ordered_json spec = Object({{"name", text}, {"datatype", datatype}, {"shape", ArrayOf(integer)}},
                                   {"name", "datatype", "shape"});
  ordered_json some_rows = ArrayOf(ordered_json::object());
  some_rows["minItems"] = 1;
  ordered_json some_tensors = ArrayOf(Ref("Tensor"));
  some_tensors["minItems"] = 1;
  const ordered_json percent = {{"type", "number"}, {"minimum", 0}, {"maximum", 100}};
  const ordered_json not_negative = {{"type", "number"}, {"minimum", 0}};
  const auto map_of = [](const ordered_json& values) {
    return ordered_json{{"type", "object"}, {"additionalProperties", values}};
  };
  const auto or_null = [](ordered_json schema, bool closed = false) {
    schema["nullable"] = true;
    if (closed) schema["additionalProperties"] = false;
    return schema;
  };
  ordered_json plan = Object(
      {{"weights", or_null(map_of(percent))},
       {"aliases", or_null(map_of(or_null(text)))},
       {"sticky_header", or_null(text)},
       {"shadow",
        or_null(Object({{"version", text}, {"percent", percent}, {"tolerance", not_negative}}, {"version"}),
                true)},
       {"rule", or_null(Object({{"promote_after", {{"type", "number"}, {"minimum", 1}}},
                                {"max_error_increase", {{"type", "number"}, {"minimum", 0}, {"maximum", 1}}},
                                {"max_p99_ratio", not_negative},
                                {"p99_slack_ms", not_negative},
                                {"min_seconds", not_negative}},
                               {}),
                        true)}},
      {});
  plan["additionalProperties"] = false;
  const ordered_json traffic = Object({{"model", text},
                                       {"default_version", text},
                                       {"weights", map_of(percent)},
                                       {"aliases", map_of(text)},
                                       {"sticky_header", text},
                                       {"shadow", Type("object")},
                                       {"rule", Type("object")},
                                       {"why", text},
                                       {"follow", text},
                                       {"since", text},
                                       {"versions", ArrayOf(Type("object"))},
                                       {"history", ArrayOf(Type("object"))}},
                                      {"model", "default_version", "versions", "history"});
  return {
      {"Error",
       Object({{"code", integer},
               {"type", text},
               {"message", text},
               {"error", {{"type", "string"}, {"description", "The message again, under /v1 and /v2."}}}},
              {"code", "type", "message"})},
      {"Health", Object({{"status", text}, {"reason", text}}, {"status"})},
      {"Status", Object({{"status", text}}, {"status"})},
      {"ServerStatus",
       Object({{"version", text},
               {"pid", integer},
               {"startTime", text},
               {"uptimeSeconds", {{"type", "number"}}},
               {"ready", boolean},
               {"reason", text},
               {"problems",
                ArrayOf(Object({{"time", text}, {"level", text}, {"message", text}, {"times", integer}},
                               {"time", "level", "message", "times"}))}},
              {"version", "startTime", "uptimeSeconds", "ready", "problems"})},
      {"Instances", Object({{"instances", some_rows}}, {"instances"})},
      {"Predictions", Object({{"predictions", ArrayOf(ordered_json::object())}}, {"predictions"})},
      {"Tensor", tensor},
      {"InferRequest",
       Object(
           {{"id", text}, {"inputs", some_tensors}, {"outputs", ArrayOf(Object({{"name", text}}, {"name"}))}},
           {"inputs"})},
      {"InferResponse",
       Object(
           {{"model_name", text}, {"model_version", text}, {"id", text}, {"outputs", ArrayOf(Ref("Tensor"))}},
           {"model_name", "model_version", "outputs"})},
      {"Server", Object({{"name", text}, {"version", text}, {"extensions", ArrayOf(text)}},
                        {"name", "version", "extensions"})},
      {"Live", Object({{"live", boolean}}, {"live"})},
      {"Ready", Object({{"ready", boolean}, {"error", text}}, {"ready"})},
      {"TensorSpec", spec},
      {"Model", Object({{"name", text},
                        {"versions", ArrayOf(text)},
                        {"platform", text},
                        {"inputs", ArrayOf(Ref("TensorSpec"))},
                        {"outputs", ArrayOf(Ref("TensorSpec"))}},
                       {"name", "versions", "platform", "inputs", "outputs"})},
      {"ModelReady", Object({{"name", text}, {"ready", boolean}, {"error", text}}, {"name", "ready"})},
      {"ModelNames", Object({{"models", ArrayOf(text)}}, {"models"})},
      {"ModelList", Object({{"nextPageToken", text},
                            {"models", ArrayOf(Object({{"modelName", text}, {"modelUrl", text}},
                                                      {"modelName", "modelUrl"}))}},
                           {"models"})},
      {"WorkflowList", Object({{"nextPageToken", text},
                               {"workflows", ArrayOf(Object({{"workflowName", text}, {"workflowUrl", text}},
                                                            {"workflowName", "workflowUrl"}))}},
                              {"workflows"})},
      {"Workflow",
       ArrayOf(Object(
           {{"workflowName", text}, {"workflowUrl", text}, {"workflowDag", text}, {"nodes", Type("array")}},
           {"workflowName", "workflowUrl", "workflowDag"}))},
      {"TrafficPlan", plan},
      {"Traffic", traffic},
      {"Description",
       ArrayOf(Object(
           {{"modelName", text}, {"modelVersion", text}, {"modelUrl", text}, {"workers", Type("array")}},
           {"modelName", "modelVersion"}))},
      {"Document", Type("object")},
  };
}

ordered_json JsonContent(ordered_json schema) {
  return {{std::string(kJson), {{"schema", std::move(schema)}}}};
}

ordered_json AnswerContent(AnswerForm answer) {
  switch (answer) {
    case AnswerForm::kDocument:
      return JsonContent(Ref("Document"));
    case AnswerForm::kHealth:
      return JsonContent(Ref("Health"));
    case AnswerForm::kPrediction: {
      ordered_json content = JsonContent(ordered_json::object());
      content["application/octet-stream"] = {{"schema", {{"type", "string"}, {"format", "binary"}}}};
      return content;
    }
    case AnswerForm::kPredictions:
      return JsonContent(Ref("Predictions"));
    case AnswerForm::kInfer: {
      ordered_json content = JsonContent(Ref("InferResponse"));
      content["application/octet-stream"] = {{"schema", {{"type", "string"}, {"format", "binary"}}}};
      return content;
    }
    case AnswerForm::kServer:
      return JsonContent(Ref("Server"));
    case AnswerForm::kLive:
      return JsonContent(Ref("Live"));
    case AnswerForm::kReady:
      return JsonContent(Ref("Ready"));
    case AnswerForm::kModel:
      return JsonContent(Ref("Model"));
    case AnswerForm::kModelReady:
      return JsonContent(Ref("ModelReady"));
    case AnswerForm::kModelNames:
      return JsonContent(Ref("ModelNames"));
    case AnswerForm::kModelList:
      return JsonContent(Ref("ModelList"));
    case AnswerForm::kDescription:
      return JsonContent(Ref("Description"));
    case AnswerForm::kStatus:
      return JsonContent(Ref("Status"));
    case AnswerForm::kWorkflowList:
      return JsonContent(Ref("WorkflowList"));
    case AnswerForm::kWorkflow:
      return JsonContent(Ref("Workflow"));
    case AnswerForm::kTraffic:
      return JsonContent(Ref("Traffic"));
    case AnswerForm::kServerStatus:
      return JsonContent(Ref("ServerStatus"));
    case AnswerForm::kMetrics:
      return {{"text/plain; version=0.0.4; charset=utf-8", {{"schema", Type("string")}}}};
    case AnswerForm::kNone:
      break;
  }
  return nullptr;
}

/// The 503 of these says what is not ready, in the form of the 200.
std::string_view NotReadyForm(AnswerForm answer) {
  if (answer == AnswerForm::kHealth) return "Health";
  if (answer == AnswerForm::kReady) return "Ready";
  return answer == AnswerForm::kModelReady ? "ModelReady" : "";
}

int Number(std::string_view status) {
  return (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
}

/// Every error that an operation may refer to.
ordered_json ErrorResponses() {
  ordered_json responses = ordered_json::object();
  for (const std::string_view status : kErrorStatuses) {
    responses[std::string(status)] = {{"description", ReasonPhrase(Number(status))},
                                      {"content", JsonContent(Ref("Error"))}};
  }
  return responses;
}

ordered_json Binary() { return {{"schema", {{"type", "string"}, {"format", "binary"}}}}; }

/// null: none.
ordered_json RequestBody(BodyForm body) {
  switch (body) {
    case BodyForm::kPrediction:
      return {{"required", true},
              {"content",
               {{std::string(kJson), {{"schema", ordered_json::object()}}},
                {"text/plain", {{"schema", Type("string")}}},
                {"application/octet-stream", Binary()},
                {"multipart/form-data",
                 {{"schema", Object({{"data", {{"type", "string"}, {"format", "binary"}}}}, {})}}},
                {"*/*", Binary()}}}};
    case BodyForm::kInstances:
      return {{"required", true}, {"content", JsonContent(Ref("Instances"))}};
    case BodyForm::kInfer:
      return {{"required", true},
              {"content",
               {{std::string(kJson), {{"schema", Ref("InferRequest")}}},
                {"application/octet-stream", Binary()}}}};
    case BodyForm::kRegister:
      return {{"required", false}, {"content", JsonContent(Type("object"))}};
    case BodyForm::kTraffic:
      return {{"required", true}, {"content", JsonContent(Ref("TrafficPlan"))}};
    case BodyForm::kParameters:
      return {{"required", false},
              {"content",
               {{std::string(kJson), {{"schema", Type("object")}}},
                {"application/x-www-form-urlencoded", {{"schema", Type("object")}}}}}};
    case BodyForm::kNone:
      break;
  }
  return nullptr;
}

/// Calls `each` with the words of a list.
template <class Each>
void ForEachWord(std::string_view list, Each each) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(' '), list.size());
    each(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

ordered_json Parameter(std::string_view name, std::string_view in, bool required, ordered_json schema) {
  return {{"name", name}, {"in", in}, {"required", required}, {"schema", std::move(schema)}};
}

ordered_json Parameters(const Operation& operation, const std::vector<std::string>& path_names) {
  ordered_json list = ordered_json::array();
  for (const std::string& name : path_names) {
    list.push_back(Parameter(name, "path", true, {{"type", "string"}, {"minLength", 1}}));
  }
  ForEachWord(operation.query, [&](std::string_view word) {
    const std::size_t colon = word.find(':');
    list.push_back(Parameter(word.substr(0, colon), "query", false, Type(word.substr(colon + 1))));
  });
  if (operation.statuses.find("504") != std::string_view::npos) {
    // An empty field counts as none.
    const ordered_json none = {{"type", "string"}, {"maxLength", 0}};
    const ordered_json timeout = {{"type", "integer"}, {"minimum", 1}, {"maximum", 86'400'000}};
    const ordered_json priority = {{"type", "string"},
                                   {"pattern", "^([Hh][Ii][Gg][Hh]|[Nn][Oo][Rr][Mm][Aa][Ll]|[Ll][Oo][Ww])$"}};
    const auto either = [&](const ordered_json& schema) {
      return ordered_json{{"anyOf", ordered_json::array({schema, none})}};
    };
    list.push_back(Parameter("X-Request-Timeout-Ms", "header", false, either(timeout)));
    list.push_back(Parameter("X-Request-Priority", "header", false, either(priority)));
  }
  return list;
}

ordered_json Responses(const Operation& operation) {
  ordered_json responses = ordered_json::object();
  if (operation.answer != AnswerForm::kNone) {
    responses["200"] = {{"description", "OK"}, {"content", AnswerContent(operation.answer)}};
  }
  std::vector<std::string_view> statuses;
  ForEachWord(operation.statuses, [&](std::string_view status) { statuses.push_back(status); });
  ForEachWord(kEveryStatus, [&](std::string_view status) { statuses.push_back(status); });
  std::sort(statuses.begin(), statuses.end());
  for (const std::string_view status : statuses) {
    if (status[0] == '2') {
      responses[std::string(status)] = {{"description", ReasonPhrase(Number(status))},
                                        {"content", AnswerContent(operation.answer)}};
    } else if (const std::string_view own = NotReadyForm(operation.answer); status == "503" && !own.empty()) {
      const ordered_json schema = {{"anyOf", ordered_json::array({Ref(own), Ref("Error")})}};
      responses["503"] = {{"description", "Not ready, or the server is full"},
                          {"content", JsonContent(schema)}};
    } else {
      responses[std::string(status)] = {{"$ref", fmt::format("#/components/responses/{}", status)}};
    }
  }
  return responses;
}

/// `/predictions/{model}/{version}/{url_path...}` → the path of the document and the names in it.
std::string PathOf(const Router::Route& route, std::string_view model, std::vector<std::string>& names) {
  std::string path;
  for (std::string segment : route.segments) {
    if (const std::size_t dots = segment.find("...}"); dots != std::string::npos) segment.erase(dots, 3);
    if (segment.starts_with('{')) {
      const std::size_t end = segment.find('}');
      const std::string name = segment.substr(1, end - 1);
      if (name == "model" && !model.empty()) {
        segment.replace(0, end + 1, model);
      } else {
        names.push_back(name);
      }
    }
    path += '/';
    path += segment;
  }
  return path.empty() ? "/" : path;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return lower;
}

}  // namespace

std::string DescribeApi(const Router& router, std::string_view title, std::string_view model) {
  ordered_json paths = ordered_json::object();
  for (const Router::Route& route : router.routes()) {
    if (!model.empty() && route.pattern.find("{model}") == std::string::npos) continue;
    const Operation* operation = FindOperation(route.method, route.pattern);
    if (operation == nullptr) continue;
    std::vector<std::string> names;
    const std::string path = PathOf(route, model, names);
    const std::string id = (operation->method == route.method ? "" : "put_") + std::string(operation->id);
    ordered_json entry = {{"operationId", id}, {"summary", operation->summary}};
    entry["parameters"] = Parameters(*operation, names);
    if (ordered_json body = RequestBody(operation->body); !body.is_null())
      entry["requestBody"] = std::move(body);
    entry["responses"] = Responses(*operation);
    paths[path][Lower(MethodName(route.method))] = std::move(entry);
  }
  const ordered_json document = {{"openapi", "3.0.1"},
                                 {"info", {{"title", title}, {"version", FLAMBEAU_VERSION}}},
                                 {"paths", std::move(paths)},
                                 {"components", {{"schemas", Schemas()}, {"responses", ErrorResponses()}}}};
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Router WithDescription(Router router, std::string_view title, const InferenceApi& api) {
  const auto document = std::make_shared<std::string>();
  const auto whole = [document](HttpRequest&) {
    HttpReply reply;
    reply.body = *document;
    return reply;
  };
  std::vector<std::string> of_models;
  for (const char* pattern : {"/predictions/{model}", "/predictions/{model}/{version}", "/models/{model}",
                              "/models/{model}/{version}"}) {
    const auto& routes = router.routes();
    const bool there = std::any_of(routes.begin(), routes.end(),
                                   [&](const Router::Route& route) { return route.pattern == pattern; });
    if (there) of_models.emplace_back(pattern);
  }
  // The table as it is now, for documents of one model; it holds no other routes of this kind.
  const auto table = std::make_shared<Router>(router);
  for (const std::string& pattern : of_models) {
    router.Inline(Method::kOptions, pattern, [table, &api](HttpRequest& request) {
      const std::string& model = request.PathParameter("model");
      const auto found = api.Find(model, request.PathParameter("version"));
      if (!found) return ErrorReply(found.error());
      HttpReply reply;
      reply.body = DescribeApi(*table, "RESTful API for: " + model, model);
      return reply;
    });
  }
  router.Inline(Method::kOptions, "/", whole);
  router.Inline(Method::kGet, "/api-description", whole);
  *document = DescribeApi(router, title);
  return router;
}

}  // namespace serve
