#pragma once

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "serve/model/served_models.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// ISO 8601 in UTC, to the second.
std::string UtcText(std::chrono::system_clock::time_point time);

/// {"default_version", "plan", "why", "since"}
nlohmann::ordered_json StateJson(const TrafficState& state);

/// {"equal", "different", "failed", "dropped", "largest_difference"}
nlohmann::ordered_json ShadowJson(const ModelMetrics& metrics);

/// What describe says of one version's traffic; null when its model has no plan.
nlohmann::ordered_json VersionTrafficJson(const ServedModels::Entry& entry, const ModelVersion& version);

/// What a snapshot keeps of a model's traffic: the state and its history. null: nothing was ever changed.
nlohmann::ordered_json KeptTraffic(const ServedModels::Entry& entry);
/// Takes back what KeptTraffic gave. Errors: kInvalidArgument, kModelNotFound, kVersionNotFound.
Status RestoreTraffic(ServedModels& models, const std::string& model, const nlohmann::ordered_json& kept);

}  // namespace serve
