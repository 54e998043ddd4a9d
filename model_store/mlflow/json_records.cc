#include "model_store/mlflow/json_records.h"

#include <cmath>
#include <cstdlib>
#include <limits>

namespace serve {
namespace {

using Json = nlohmann::json;

MlflowTags ReadTags(const Json& list) {
  MlflowTags tags;
  for (const Json& tag : list) tags[StringOf(tag, "key")] = StringOf(tag, "value");
  return tags;
}

Json ObjectOf(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_object() ? json[key] : Json::object();
}

}  // namespace

Json ListOf(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_array() ? json[key] : Json::array();
}

std::string StringOf(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) return {};
  const Json& value = json[key];
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_integer() ? value.dump() : std::string();
}

std::int64_t IntegerOf(const Json& json, const char* key) {
  if (!json.is_object() || !json.contains(key)) return 0;
  const Json& value = json[key];
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return value.is_string() ? std::strtoll(value.get<std::string>().c_str(), nullptr, 10) : 0;
}

MlflowExperiment ReadExperiment(const Json& json) {
  return {StringOf(json, "experiment_id"), StringOf(json, "name"), StringOf(json, "artifact_location")};
}

MlflowMetric ReadMetric(const Json& json) {
  MlflowMetric metric{StringOf(json, "key"), std::numeric_limits<double>::quiet_NaN(),
                      IntegerOf(json, "timestamp"), IntegerOf(json, "step")};
  if (!json.is_object() || !json.contains("value")) return metric;
  const Json& value = json["value"];
  if (value.is_number()) metric.value = value.get<double>();
  if (value == "Infinity") metric.value = std::numeric_limits<double>::infinity();
  if (value == "-Infinity") metric.value = -std::numeric_limits<double>::infinity();
  return metric;
}

MlflowRun ReadRun(const Json& json) {
  const Json info = ObjectOf(json, "info");
  const Json data = ObjectOf(json, "data");
  MlflowRun run;
  run.id = StringOf(info, "run_id");
  run.experiment_id = StringOf(info, "experiment_id");
  run.name = StringOf(info, "run_name");
  run.status = StringOf(info, "status");
  run.start_ms = IntegerOf(info, "start_time");
  run.end_ms = IntegerOf(info, "end_time");
  run.artifact_uri = StringOf(info, "artifact_uri");
  run.lifecycle_stage = StringOf(info, "lifecycle_stage");
  run.tags = ReadTags(ListOf(data, "tags"));
  run.params = ReadTags(ListOf(data, "params"));
  for (const Json& metric : ListOf(data, "metrics")) run.metrics.push_back(ReadMetric(metric));
  for (const Json& input : ListOf(ObjectOf(json, "inputs"), "dataset_inputs")) {
    const Json dataset = ObjectOf(input, "dataset");
    const MlflowTags tags = ReadTags(ListOf(input, "tags"));
    const auto context = tags.find("mlflow.data.context");
    run.datasets.push_back({StringOf(dataset, "name"), StringOf(dataset, "digest"),
                            StringOf(dataset, "source_type"), StringOf(dataset, "source"),
                            StringOf(dataset, "schema"), StringOf(dataset, "profile"),
                            context == tags.end() ? "" : context->second});
  }
  return run;
}

MlflowModelVersion ReadModelVersion(const Json& json) {
  MlflowModelVersion version;
  version.name = StringOf(json, "name");
  version.version = StringOf(json, "version");
  version.source = StringOf(json, "source");
  version.run_id = StringOf(json, "run_id");
  version.status = StringOf(json, "status");
  version.description = StringOf(json, "description");
  version.stage = StringOf(json, "current_stage");
  version.tags = ReadTags(ListOf(json, "tags"));
  for (const Json& alias : ListOf(json, "aliases")) {
    if (alias.is_string()) version.aliases.push_back(alias.get<std::string>());
  }
  return version;
}

Json TagsJson(const MlflowTags& tags) {
  Json list = Json::array();
  for (const auto& [key, value] : tags) list.push_back({{"key", key}, {"value", value}});
  return list;
}

Json MetricJson(const MlflowMetric& metric) {
  Json value = metric.value;
  if (std::isnan(metric.value)) value = "NaN";
  if (std::isinf(metric.value)) value = metric.value > 0 ? "Infinity" : "-Infinity";
  return {{"key", metric.key}, {"value", value}, {"timestamp", metric.timestamp_ms}, {"step", metric.step}};
}

Json DatasetJson(const MlflowDataset& dataset) {
  Json described = {{"name", dataset.name},
                    {"digest", dataset.digest},
                    {"source_type", dataset.source_type},
                    {"source", dataset.source}};
  if (!dataset.schema.empty()) described["schema"] = dataset.schema;
  if (!dataset.profile.empty()) described["profile"] = dataset.profile;
  Json tags = Json::array();
  if (!dataset.context.empty()) tags.push_back({{"key", "mlflow.data.context"}, {"value", dataset.context}});
  return {{"tags", tags}, {"dataset", described}};
}

}  // namespace serve
