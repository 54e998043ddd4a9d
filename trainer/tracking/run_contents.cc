#include "trainer/tracking/run_contents.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include <fmt/format.h>

#include "trainer/tracking/charts.h"

namespace serve::trainer {
namespace {

using Json = nlohmann::ordered_json;

const Json& Member(const Json& json, const char* key) {
  static const Json kNone;
  return json.is_object() && json.contains(key) ? json[key] : kNone;
}

/// The member if it is an object, else nothing: a scalar would pass for a list of one.
const Json& ObjectMember(const Json& json, const char* key) {
  static const Json kNone;
  const Json& member = Member(json, key);
  return member.is_object() ? member : kNone;
}

std::string TextOf(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  return json.is_null() ? std::string() : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// What MLflow takes for a name: letters, digits and `_-. :/`.
std::string NameOf(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool fine = std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                      std::string_view("_-. /").find(c) != std::string_view::npos;
    name += fine ? c : '_';
  }
  return name;
}

/// The number that counts a history's entries, by name.
const char* StepName(const Json& entry) {
  for (const char* name : {"iteration", "epoch", "step"}) {
    if (Member(entry, name).is_number_integer()) return name;
  }
  return nullptr;
}

void AddDataset(const Json& source, const char* context, RunRecord& record) {
  const std::string file = TextOf(Member(source, "file"));
  const std::string sha256 = TextOf(Member(source, "sha256"));
  if (file.empty() || sha256.empty()) return;
  record.datasets.push_back({file, sha256.substr(0, 32), "local", Json({{"uri", file}}).dump(), "",
                             Json({{"num_rows", Member(source, "rows")}}).dump(), context});
  record.tags[fmt::format("data.{}.sha256", context)] = sha256;
}

}  // namespace

void FillRecord(const Json& lineage, const Json& metrics, std::int64_t time_ms, RunRecord& record) {
  for (const auto& [name, value] : ObjectMember(lineage, "hyper_parameters").items()) {
    record.params[NameOf(name)] = TextOf(value);
  }
  if (!Member(lineage, "seed").is_null()) record.params["seed"] = TextOf(lineage["seed"]);
  const Json& validation = Member(lineage, "validation");
  if (!Member(validation, "split").is_null()) record.params["split"] = TextOf(validation["split"]);
  AddDataset(Member(lineage, "data"), "training", record);
  AddDataset(validation, "validation", record);

  for (const auto& [name, value] : ObjectMember(lineage, "metrics").items()) {
    if (value.is_number()) record.metrics.push_back({NameOf(name), value.get<double>(), time_ms, 0});
  }
  for (const Json& scores : Member(metrics, "per_class")) {
    const std::string label = NameOf(TextOf(Member(scores, "label")));
    for (const char* score : {"precision", "recall", "f1"}) {
      if (!Member(scores, score).is_number()) continue;
      record.metrics.push_back({fmt::format("{}/{}", score, label), scores[score].get<double>(), time_ms, 0});
    }
  }
  for (const Json& entry : Member(metrics, "history")) {
    const char* step = StepName(entry);
    if (step == nullptr) continue;
    for (const auto& [name, value] : entry.items()) {
      if (name == step || !value.is_number()) continue;
      record.metrics.push_back(
          {"train/" + NameOf(name), value.get<double>(), time_ms, entry[step].get<std::int64_t>()});
    }
  }

  const std::pair<const char*, const Json&> tags[] = {
      {"flambeau.version", Member(lineage, "version")},
      {"flambeau.libtorch", Member(lineage, "libtorch")},
      {"flambeau.weights_sha256", Member(lineage, "weights_sha256")},
      {"flambeau.stopped_early", Member(lineage, "stopped_early")},
      {"flambeau.code_dirty", Member(Member(lineage, "code"), "dirty")},
      {"flambeau.instruction_set", Member(Member(lineage, "environment"), "instruction_set")},
      {"flambeau.compiler", Member(Member(lineage, "environment"), "compiler")},
      {"mlflow.source.git.commit", Member(Member(lineage, "code"), "commit")},
  };
  for (const auto& [key, value] : tags) {
    if (const std::string text = TextOf(value); !text.empty()) record.tags.emplace(key, text);
  }
}

std::string ConfusionChart(const Json& metrics) try {
  if (!Member(metrics, "labels").is_array() || !Member(metrics, "confusion_matrix").is_array()) return {};
  return ConfusionSvg(metrics["labels"].get<std::vector<std::string>>(),
                      metrics["confusion_matrix"].get<std::vector<std::vector<std::size_t>>>());
} catch (const Json::exception&) {
  return {};
}

std::string LearningCurve(const Json& metrics) {
  std::vector<Curve> losses;
  std::vector<Curve> shares;
  std::string x_name;
  for (const Json& entry : Member(metrics, "history")) {
    const char* step = StepName(entry);
    if (step == nullptr) continue;
    x_name = step;
    for (const auto& [name, value] : entry.items()) {
      if (name == step || !value.is_number()) continue;
      const bool loss = name.find("loss") != std::string::npos;
      const bool share = name.find("accuracy") != std::string::npos || name.find("f1") != std::string::npos;
      if (!loss && !share) continue;  // a learning rate or seconds would need an axis of their own
      std::vector<Curve>& curves = loss ? losses : shares;
      auto curve = std::find_if(curves.begin(), curves.end(), [&](const Curve& c) { return c.name == name; });
      if (curve == curves.end()) curve = curves.insert(curves.end(), {name, {}});
      curve->points.emplace_back(entry[step].get<double>(), value.get<double>());
    }
  }
  if (losses.empty() && shares.empty()) return {};
  return CurvesSvg("Learning curve", x_name, losses, shares);
}

}  // namespace serve::trainer
