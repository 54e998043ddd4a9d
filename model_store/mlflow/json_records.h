#pragma once

#include <nlohmann/json.hpp>

#include "model_store/mlflow/client.h"

namespace serve {

// MLflow's JSON ↔ our structs. Reading never fails: what is missing or of another type stays empty.

MlflowExperiment ReadExperiment(const nlohmann::json& json);
MlflowRun ReadRun(const nlohmann::json& json);
MlflowMetric ReadMetric(const nlohmann::json& json);
MlflowModelVersion ReadModelVersion(const nlohmann::json& json);
nlohmann::json TagsJson(const MlflowTags& tags);  // [{"key": …, "value": …}]
nlohmann::json MetricJson(const MlflowMetric& metric);
nlohmann::json DatasetJson(const MlflowDataset& dataset);

/// `json[key]` as a list; empty when it is not there, as MLflow leaves out empty lists.
nlohmann::json ListOf(const nlohmann::json& json, const char* key);
std::string StringOf(const nlohmann::json& json, const char* key);
std::int64_t IntegerOf(const nlohmann::json& json, const char* key);

}  // namespace serve
