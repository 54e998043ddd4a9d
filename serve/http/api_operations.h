#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "serve/http/http_message.h"

namespace serve {

/// What an operation takes and answers, by the name of a schema in api_description.cc.
enum class BodyForm : std::uint8_t {
  kNone,
  kPrediction,
  kInstances,
  kInfer,
  kRegister,
  kParameters,
  kTraffic
};
enum class AnswerForm : std::uint8_t {
  kDocument,     // OpenAPI
  kHealth,       // {"status", "reason"}
  kPrediction,   // whatever the handler answers
  kPredictions,  // KServe v1
  kInfer,        // KServe v2
  kServer,       // KServe v2: server metadata
  kLive,
  kReady,
  kModel,  // KServe v2: model metadata
  kModelReady,
  kModelNames,
  kNone,         // never 200
  kModelList,    // management
  kDescription,  // management: an array of versions
  kStatus,       // {"status": "..."}
  kWorkflowList,
  kWorkflow,  // an array of one description
  kTraffic,   // the traffic of a model
  kServerStatus,
  kMetrics,  // Prometheus text
};

/// How one route reads in the OpenAPI document. Method and pattern are those of the router's table; a test
/// walks both.
struct Operation {
  Method method;
  std::string_view pattern;
  std::string_view id;  // operationId; TorchServe's where it has one
  std::string_view summary;
  std::string_view query;  // `limit:integer token:string`; none is required
  BodyForm body = BodyForm::kNone;
  AnswerForm answer = AnswerForm::kDocument;
  std::string_view statuses = "";  // besides 200 and what every operation may answer: `202 404`
};

std::span<const Operation> Operations();
/// For PUT the row of POST when it has none of its own. nullptr: the route has no row.
const Operation* FindOperation(Method method, std::string_view pattern);

}  // namespace serve
