#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "model_store/mlflow/run_record.h"

namespace serve::trainer {

/// Takes from an archive's lineage and metrics.json what a run shows: hyper-parameters as params, scores and
/// the history of the training as metrics, data files as datasets, code and environment as tags. Works with
/// any recipe: it takes every number and text that it finds. `time_ms` is the time of the metrics.
void FillRecord(const nlohmann::ordered_json& lineage, const nlohmann::ordered_json& metrics,
                std::int64_t time_ms, RunRecord& record);

/// Charts of metrics.json as SVG; empty when it holds none.
std::string ConfusionChart(const nlohmann::ordered_json& metrics);
std::string LearningCurve(const nlohmann::ordered_json& metrics);

}  // namespace serve::trainer
