#include "serve/api/traffic_state.h"

#include <exception>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace serve {
namespace {

using nlohmann::ordered_json;

Result<TrafficState> ReadState(const ordered_json& object) {
  TrafficState state;
  const auto text = [&](const char* name) {
    return object.is_object() && object.contains(name) && object[name].is_string()
               ? object[name].get<std::string>()
               : std::string();
  };
  state.default_version = text("default_version");
  if (state.default_version.empty()) return InvalidArgument("kept traffic: it names no default_version");
  state.why = text("why");
  const auto seconds = object.value("since_s", ordered_json(0));
  if (seconds.is_number_integer())
    state.since = std::chrono::system_clock::time_point(std::chrono::seconds(seconds.get<std::int64_t>()));
  if (object.contains("plan") && object["plan"].is_object()) {
    TrafficPlan plan;
    const Status status = ChangePlan(nlohmann::json(object["plan"]), state.default_version, plan);
    if (!status.ok()) return status;
    state.plan = std::make_shared<const TrafficPlan>(std::move(plan));
  }
  return state;
}

ordered_json Kept(const TrafficState& state) {
  ordered_json json = StateJson(state);
  json["since_s"] = std::chrono::duration_cast<std::chrono::seconds>(state.since.time_since_epoch()).count();
  return json;
}

}  // namespace

std::string UtcText(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

ordered_json StateJson(const TrafficState& state) {
  ordered_json json = {{"default_version", state.default_version}};
  if (state.plan) json["plan"] = PlanJson(*state.plan);
  if (!state.why.empty()) {
    json["why"] = state.why;
    json["since"] = UtcText(state.since);
  }
  return json;
}

ordered_json ShadowJson(const ModelMetrics& metrics) {
  ordered_json json = ordered_json::object();
  for (std::size_t i = 0; i < kShadowResultNames.size(); ++i)
    json[std::string(kShadowResultNames[i])] = metrics.shadow[i].Value();
  json["largest_difference"] = metrics.shadow_difference.load();
  return json;
}

ordered_json VersionTrafficJson(const ServedModels::Entry& entry, const ModelVersion& version) {
  const TrafficState& state = entry.traffic;
  if (!state.plan && state.why.empty() && entry.follow.empty()) return nullptr;
  const std::string& text = version.info().version;
  ordered_json json = {{"percent", static_cast<double>(version.metrics().traffic_points.Value()) / 100}};
  if (state.plan) {
    for (const auto& [name, target] : state.plan->aliases) {
      if (target == text) json["aliases"].push_back(name);
    }
    if (state.plan->shadow && state.plan->shadow->version == text)
      json["shadow"] = ShadowJson(version.metrics());
  }
  if (!state.why.empty()) json["why"] = state.why;
  if (!entry.follow.empty()) json["follow"] = entry.follow;
  return json;
}

ordered_json KeptTraffic(const ServedModels::Entry& entry) {
  if (!entry.traffic.plan && entry.history.empty()) return nullptr;
  ordered_json kept = Kept(entry.traffic);
  for (const TrafficState& state : entry.history) kept["history"].push_back(Kept(state));
  return kept;
}

Status RestoreTraffic(ServedModels& models, const std::string& model, const ordered_json& kept) {
  Result<TrafficState> state = ReadState(kept);
  if (!state) return state.error();
  std::vector<TrafficState> history;
  if (kept.contains("history") && kept["history"].is_array()) {
    for (const ordered_json& item : kept["history"]) {
      Result<TrafficState> before = ReadState(item);
      if (!before) return before.error();
      history.push_back(std::move(*before));
    }
  }
  return models.RestoreTraffic(model, std::move(*state), std::move(history));
}

}  // namespace serve
