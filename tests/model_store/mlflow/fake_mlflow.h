#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/model_store/http_client/fake_server.h"

namespace serve {

/// As much of an MLflow server as our client uses, in memory: statuses, error codes and shapes are those that
/// a real server (3.17) answers with. tests/compat/run tracking runs the same steps against a real one.
class FakeMlflow {
 public:
  using Json = nlohmann::json;
  struct Run {
    std::string id;
    std::string experiment;
    std::string name;
    std::string status = "RUNNING";
    std::int64_t end = 0;
    std::map<std::string, std::string> params;
    std::map<std::string, std::string> tags;
    std::map<std::string, Json> metrics;  // by key, step and time: the same one again is no second one
    Json inputs = Json::array();
  };

  FakeMlflow() : server_([this](const FakeServer::Request& request) { return Answer(request); }) {}

  [[nodiscard]] std::string url() const { return server_.url(); }
  [[nodiscard]] std::vector<std::string> lines() const { return server_.lines(); }
  /// Answers 503 to the calls whose target holds `part`, before (nothing happens) or after they did their
  /// work.
  void Break(std::string part, bool after = false) {
    const std::lock_guard lock(mutex_);
    broken_ = std::move(part);
    break_after_ = after;
  }
  void Mend() { Break(""); }

  [[nodiscard]] std::vector<Run> runs() const {
    const std::lock_guard lock(mutex_);
    std::vector<Run> all;
    for (const auto& [id, run] : runs_) all.push_back(run);
    return all;
  }
  [[nodiscard]] std::map<std::string, std::string> artifacts() const {
    const std::lock_guard lock(mutex_);
    return artifacts_;
  }
  [[nodiscard]] std::vector<Json> versions() const {
    const std::lock_guard lock(mutex_);
    return versions_;
  }
  [[nodiscard]] std::string alias(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = aliases_.find(name);
    return found == aliases_.end() ? "" : found->second;
  }

 private:
  using Response = FakeServer::Response;
  static Response Ok(const Json& json = Json::object()) { return FakeServer::Json(200, json.dump()); }
  static Response Error(int status, const char* code, const std::string& message) {
    return FakeServer::Json(status, Json({{"error_code", code}, {"message", message}}).dump());
  }

  Response Answer(const FakeServer::Request& request) {
    const std::lock_guard lock(mutex_);
    const std::string target(request.target());
    const bool broken = !broken_.empty() && target.find(broken_) != std::string::npos;
    const Response busy = Error(503, "TEMPORARILY_UNAVAILABLE", "the server rests");
    if (broken && !break_after_) return busy;
    Response answer = Dispatch(std::string(request.method_string()), target, request.body());
    return broken ? busy : answer;
  }

  Response Dispatch(const std::string& method, const std::string& target, const std::string& body) {
    constexpr std::string_view kFiles = "/api/2.0/mlflow-artifacts/artifacts";
    constexpr std::string_view kApi = "/api/2.0/mlflow/";
    const std::string path = target.substr(0, target.find('?'));
    if (path.starts_with(kFiles))
      return Files(method, path.substr(kFiles.size()), Query(target, "path"), body);
    if (!path.starts_with(kApi)) return FakeServer::Json(404, "<html>");
    const std::string call = method + " " + path.substr(kApi.size());
    const Json json = body.empty() ? Json::object() : Json::parse(body);
    const auto text = [&](const char* key) { return json.value(key, ""); };
    if (call == "GET experiments/get-by-name") return Experiment(Query(target, "experiment_name"));
    if (call == "GET experiments/get") return Experiment(Query(target, "experiment_id"));
    if (call == "POST experiments/create") {
      if (experiments_.contains(text("name"))) return Error(400, "RESOURCE_ALREADY_EXISTS", "exists");
      experiments_[text("name")] = std::to_string(experiments_.size() + 1);
      return Ok({{"experiment_id", experiments_[text("name")]}});
    }
    if (call == "POST experiments/search") {
      Json list = Json::array();
      for (const auto& [name, id] : experiments_) list.push_back({{"name", name}, {"experiment_id", id}});
      return Ok({{"experiments", list}});
    }
    if (call == "POST runs/create") return CreateRun(json);
    if (call == "GET runs/get") {
      const auto run = runs_.find(Query(target, "run_id"));
      if (run == runs_.end()) return Error(404, "RESOURCE_DOES_NOT_EXIST", "Run not found");
      return Ok({{"run", RunJson(run->second)}});
    }
    if (call == "POST runs/search") return SearchRuns(json);
    if (call.starts_with("POST runs/")) return ChangeRun(call.substr(10), json);
    return Registry(call, target, json);
  }

  static std::string Query(const std::string& target, const std::string& name) {
    const std::size_t begin = target.find(name + "=");
    if (begin == std::string::npos) return {};
    std::string value;
    for (std::size_t i = begin + name.size() + 1; i < target.size() && target[i] != '&'; ++i) {
      if (target[i] == '%') {
        value += static_cast<char>(std::stoi(target.substr(i + 1, 2), nullptr, 16));
        i += 2;
      } else {
        value += target[i];
      }
    }
    return value;
  }

  Response Experiment(const std::string& wanted) {
    for (const auto& [name, id] : experiments_) {
      if (name != wanted && id != wanted) continue;
      return Ok(
          {{"experiment",
            {{"experiment_id", id}, {"name", name}, {"artifact_location", "mlflow-artifacts:/" + id}}}});
    }
    return Error(404, "RESOURCE_DOES_NOT_EXIST", "No Experiment exists");
  }

  static Json RunJson(const Run& run) {
    Json data = {{"tags", Json::array()}, {"params", Json::array()}, {"metrics", Json::array()}};
    for (const auto& [key, value] : run.tags) data["tags"].push_back({{"key", key}, {"value", value}});
    for (const auto& [key, value] : run.params) data["params"].push_back({{"key", key}, {"value", value}});
    for (const auto& [id, metric] : run.metrics) data["metrics"].push_back(metric);
    return {{"info",
             {{"run_id", run.id},
              {"experiment_id", run.experiment},
              {"run_name", run.name},
              {"status", run.status},
              {"end_time", run.end},
              {"artifact_uri", "mlflow-artifacts:/" + run.experiment + "/" + run.id + "/artifacts"}}},
            {"data", data},
            {"inputs", {{"dataset_inputs", run.inputs}}}};
  }

  Response CreateRun(const Json& json) {
    Run run;
    run.id = "run" + std::to_string(runs_.size() + 1);
    run.experiment = json.at("experiment_id");
    run.name = json.value("run_name", "lucky-fox");
    for (const Json& tag : json.value("tags", Json::array())) run.tags[tag.at("key")] = tag.at("value");
    runs_[run.id] = run;
    return Ok({{"run", RunJson(run)}});
  }

  /// Knows one filter: tags."KEY" = 'VALUE'.
  Response SearchRuns(const Json& json) {
    const std::string filter = json.value("filter", "");
    Json list = Json::array();
    for (const auto& [id, run] : runs_) {
      bool wanted = filter.empty();
      for (const auto& [key, value] : run.tags) {
        wanted = wanted || filter == "tags.\"" + key + "\" = '" + value + "'";
      }
      if (wanted) list.push_back(RunJson(run));
    }
    return Ok(list.empty() ? Json::object() : Json({{"runs", list}}));
  }

  Response ChangeRun(const std::string& call, const Json& json) {
    const auto found = runs_.find(json.value("run_id", ""));
    if (found == runs_.end()) return Error(404, "RESOURCE_DOES_NOT_EXIST", "Run not found");
    Run& run = found->second;
    if (call == "update") {
      run.status = json.at("status");
      run.end = json.value("end_time", std::int64_t{0});
      return Ok({{"run_info", Json::object()}});
    }
    if (call == "log-inputs") {
      run.inputs = json.at("datasets");
      return Ok();
    }
    for (const Json& param : json.value("params", Json::array())) {
      const auto [at, is_new] = run.params.emplace(param.at("key"), param.at("value"));
      if (!is_new && at->second != param.at("value")) {
        return Error(400, "INVALID_PARAMETER_VALUE", "Changing param values is not allowed");
      }
    }
    for (const Json& tag : json.value("tags", Json::array())) run.tags[tag.at("key")] = tag.at("value");
    for (const Json& metric : json.value("metrics", Json::array())) {
      run.metrics[metric.at("key").get<std::string>() + metric.at("step").dump() +
                  metric.at("timestamp").dump()] = metric;
    }
    return Ok();
  }

  Response Files(const std::string& method, std::string path, const std::string& listed,
                 const std::string& body) {
    if (!path.empty()) path.erase(0, 1);
    if (method == "PUT") {
      artifacts_[path] = body;
      return FakeServer::Json(200, "");
    }
    if (!path.empty()) {
      const auto file = artifacts_.find(path);
      return file == artifacts_.end() ? Error(404, "RESOURCE_DOES_NOT_EXIST", path)
                                      : FakeServer::Json(200, file->second);
    }
    std::map<std::string, Json> entries;
    for (const auto& [name, content] : artifacts_) {
      if (!name.starts_with(listed + "/")) continue;
      const std::string rest = name.substr(listed.size() + 1);
      const std::string first = rest.substr(0, rest.find('/'));
      const bool is_dir = first != rest;
      entries[first] = {{"path", first}, {"is_dir", is_dir}};
      if (!is_dir) entries[first]["file_size"] = content.size();
    }
    Json list = Json::array();
    for (const auto& [name, entry] : entries) list.push_back(entry);
    return Ok(list.empty() ? Json::object() : Json({{"files", list}}));
  }

  Response Registry(const std::string& call, const std::string& target, const Json& json) {
    if (call == "POST registered-models/create") {
      const bool is_new = models_.emplace(json.at("name"), true).second;
      return is_new ? Ok() : Error(400, "RESOURCE_ALREADY_EXISTS", "exists");
    }
    if (call == "POST model-versions/create") {
      Json version = json;
      version["version"] = std::to_string(versions_.size() + 1);
      version["status"] = "READY";
      versions_.push_back(version);
      return Ok({{"model_version", version}});
    }
    if (call == "GET model-versions/search") {  // one filter: name='…' and run_id='…'
      const std::string filter = Query(target, "filter");
      Json list = Json::array();
      for (const Json& version : versions_) {
        const std::string wanted =
            "name='" + version.value("name", "") + "' and run_id='" + version.value("run_id", "") + "'";
        if (filter == wanted) list.push_back(version);
      }
      return Ok({{"model_versions", list}});
    }
    if (call == "POST registered-models/alias") {
      aliases_[json.at("alias")] = json.at("version");
      return Ok();
    }
    const bool by_alias = call == "GET registered-models/alias";
    const std::string number = by_alias ? aliases_[Query(target, "alias")] : Query(target, "version");
    for (const Json& version : versions_) {
      if (version["version"] != number) continue;
      if (call == "GET model-versions/get-download-uri") return Ok({{"artifact_uri", version["source"]}});
      return Ok({{"model_version", version}});
    }
    if (by_alias) return Error(400, "INVALID_PARAMETER_VALUE", "Registered model alias x not found.");
    return Error(404, "RESOURCE_DOES_NOT_EXIST", "Model Version not found");
  }

  mutable std::mutex mutex_;  // guards everything
  std::string broken_;
  bool break_after_ = false;
  std::map<std::string, std::string> experiments_;  // name → id
  std::map<std::string, Run> runs_;
  std::map<std::string, std::string> artifacts_;
  std::map<std::string, bool> models_;
  std::vector<Json> versions_;
  std::map<std::string, std::string> aliases_;
  FakeServer server_;  // last: it uses what stands before it
};

}  // namespace serve
