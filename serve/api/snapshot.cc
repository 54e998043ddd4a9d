#include "serve/api/snapshot.h"

#include <algorithm>
#include <optional>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/manifest.h"
#include "serve/config/properties.h"

namespace serve {
namespace {

using nlohmann::ordered_json;

constexpr int kMaxNumber = 100'000'000;

/// A value of a properties file: what its syntax would take for something else gets a backslash.
std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\n') {
      escaped += "\\n";
    } else if (c == '\\' || c == ':' || c == '=' || c == '#' || c == '!') {
      escaped += '\\';
      escaped += c;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

ordered_json VersionJson(const ModelVersion& version, bool is_default) {
  const VersionInfo& info = version.info();
  const VersionOptions& options = version.options();
  const VersionStatus status = version.Read();
  ordered_json given = ordered_json::array();
  const auto note = [&given](bool is_given, const char* what) {
    if (is_given) given.push_back(what);
  };
  note(version.scaled() || options.given.min_workers.has_value(), "workers");
  note(options.given.batch_size.has_value(), "batchSize");
  note(options.given.max_batch_delay.has_value(), "maxBatchDelay");
  note(options.given.response_timeout.has_value(), "responseTimeout");
  note(options.given.startup_timeout.has_value(), "startupTimeout");
  ordered_json ours = {{"url", info.url}, {"given", std::move(given)}};
  if (info.call.name) ours["modelName"] = *info.call.name;
  if (info.call.version) ours["version"] = *info.call.version;
  if (info.call.handler) ours["handler"] = *info.call.handler;
  if (!info.call.inputs.empty()) ours["input"] = info.call.inputs;
  if (info.call.batch) ours["batch"] = *info.call.batch;
  if (!info.origin.is_null()) ours["source"] = info.origin;
  return {
      {"defaultVersion", is_default},
      {"marName", info.source},
      {"minWorkers", status.min_workers},
      {"maxWorkers", status.max_workers},
      {"batchSize", options.scheduler.batch_size},
      {"maxBatchDelay", options.scheduler.max_batch_delay.count()},
      {"responseTimeout", options.response_timeout.count() / 1000},
      {"startupTimeout", options.startup_timeout.count() / 1000},
      {"runtimeType", "python"},  // the only one that TorchServe would read
      {"flambeau", std::move(ours)},
  };
}

std::optional<std::string> TextOf(const ordered_json& map, const char* key) {
  const auto found = map.find(key);
  if (found == map.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<int> NumberOf(const ordered_json& map, const char* key) {
  const auto found = map.find(key);
  if (found == map.end() || !found->is_number_integer()) return std::nullopt;
  const auto number = found->get<std::int64_t>();
  if (number < 0 || number > kMaxNumber) return std::nullopt;
  return static_cast<int>(number);
}

/// Fills `model`; the text says what is wrong.
std::string ReadVersion(const ordered_json& map, SnapshotModel& model) {
  if (!map.is_object()) return "it is no object";
  const std::optional<std::string> file = TextOf(map, "marName");
  if (!file || file->empty()) return "it has no marName";
  model.file = *file;
  model.url = *file;
  model.given.default_version = map.value("defaultVersion", ordered_json(false)) == ordered_json(true);
  const ordered_json none = ordered_json::object();
  const bool is_ours = map.contains("flambeau") && map["flambeau"].is_object();
  const ordered_json& ours = is_ours ? map["flambeau"] : none;
  const ordered_json given = ours.value("given", ordered_json::array());
  const auto is_given = [&](const char* what) {
    return !is_ours || std::find(given.begin(), given.end(), ordered_json(what)) != given.end();
  };
  if (is_given("workers")) {
    model.given.min_workers = NumberOf(map, "minWorkers");
    model.given.max_workers = NumberOf(map, "maxWorkers");
    if (model.given.min_workers.has_value() != model.given.max_workers.has_value() ||
        (model.given.min_workers && *model.given.max_workers < *model.given.min_workers)) {
      return "minWorkers and maxWorkers are not usable";
    }
  }
  const auto time = [&](const char* key, std::chrono::milliseconds unit) {
    const std::optional<int> number = is_given(key) ? NumberOf(map, key) : std::nullopt;
    return number ? std::optional(*number * unit) : std::nullopt;
  };
  if (is_given("batchSize")) model.given.batch_size = NumberOf(map, "batchSize");
  if (model.given.batch_size == 0) model.given.batch_size.reset();
  model.given.max_batch_delay = time("maxBatchDelay", std::chrono::milliseconds(1));
  model.given.response_timeout = time("responseTimeout", std::chrono::seconds(1));
  model.given.startup_timeout = time("startupTimeout", std::chrono::seconds(1));
  if (!is_ours) {  // TorchServe may have been given both by its call: the archive may say otherwise
    model.call.name = model.name;
    return {};
  }
  model.url = TextOf(ours, "url").value_or(*file);
  if (ours.contains("source")) model.origin = ours["source"];
  model.call.name = TextOf(ours, "modelName");
  model.call.version = TextOf(ours, "version");
  model.call.handler = TextOf(ours, "handler");
  model.call.batch = TextOf(ours, "batch");
  for (const ordered_json& input : ours.value("input", ordered_json::array())) {
    if (input.is_string()) model.call.inputs.push_back(input.get<std::string>());
  }
  return {};
}

void ReadWorkflows(const ordered_json& list, Snapshot& snapshot) {
  for (const ordered_json& item : list) {
    const auto name = item.is_object() ? TextOf(item, "workflowName") : std::nullopt;
    const auto file = item.is_object() ? TextOf(item, "file") : std::nullopt;
    if (!name || !file) {
      snapshot.problems.push_back("a workflow has no workflowName or no file");
      continue;
    }
    snapshot.workflows.push_back({*name, TextOf(item, "workflowUrl").value_or(*file), *file});
  }
}

}  // namespace

std::string SnapshotText(const std::vector<ModelHandle>& versions, const std::vector<bool>& is_default,
                         const std::vector<SnapshotWorkflow>& workflows, std::string_view name,
                         std::chrono::system_clock::time_point now,
                         const std::vector<SnapshotTraffic>& traffic) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  ordered_json models = ordered_json::object();
  for (std::size_t i = 0; i < versions.size(); ++i) {
    const VersionInfo& info = versions[i]->info();
    models[info.name][info.version] = VersionJson(*versions[i], is_default[i]);
  }
  ordered_json snapshot = {
      {"name", name},
      {"modelCount", versions.size()},
      {"created", std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count()},
      {"models", std::move(models)}};
  for (const SnapshotWorkflow& workflow : workflows) {
    snapshot["flambeau"]["workflows"].push_back(
        {{"workflowName", workflow.name}, {"workflowUrl", workflow.url}, {"file", workflow.file}});
  }
  for (const SnapshotTraffic& one : traffic) snapshot["flambeau"]["traffic"][one.model] = one.kept;
  return fmt::format("#Saving snapshot\n#{:%a %b %d %H:%M:%S} UTC {:%Y}\nmodel_snapshot={}\n",
                     fmt::gmtime(seconds), fmt::gmtime(seconds),
                     Escaped(snapshot.dump(2, ' ', false, ordered_json::error_handler_t::replace)));
}

Result<Snapshot> ParseSnapshotJson(std::string_view text) {
  ordered_json parsed;
  if (Status status = ParseLimitedJson(text, "model_snapshot", parsed); !status.ok()) return status;
  if (!parsed.is_object() || !parsed.contains("models") || !parsed["models"].is_object()) {
    return InvalidArgument("model_snapshot: it must be an object with `models`");
  }
  Snapshot snapshot;
  const auto ours = parsed.find("flambeau");
  if (ours != parsed.end() && ours->is_object() && ours->contains("workflows")) {
    ReadWorkflows((*ours)["workflows"], snapshot);
  }
  if (ours != parsed.end() && ours->is_object() && ours->contains("traffic")) {
    for (const auto& [model, kept] : (*ours)["traffic"].items()) snapshot.traffic.push_back({model, kept});
  }
  for (const auto& [name, versions] : parsed["models"].items()) {
    if (!versions.is_object()) {
      snapshot.problems.push_back(fmt::format("model {}: it is no object of versions", name));
      continue;
    }
    for (const auto& [version, values] : versions.items()) {
      SnapshotModel model;
      model.name = name;
      model.version = version;
      if (std::string problem = ReadVersion(values, model); !problem.empty()) {
        snapshot.problems.push_back(fmt::format("model {} version {}: {}", name, version, problem));
      } else {
        snapshot.models.push_back(std::move(model));
      }
    }
  }
  return snapshot;
}

Result<Snapshot> ParseSnapshotText(std::string_view text) {
  const Properties properties = ParseProperties(text);
  const Property* found = nullptr;
  for (const Property& property : properties.entries) {
    if (property.key == "model_snapshot") found = &property;
  }
  if (found == nullptr) return InvalidArgument("it has no model_snapshot");
  return ParseSnapshotJson(found->value);
}

}  // namespace serve
