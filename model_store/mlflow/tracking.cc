// The client's experiments and runs.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "model_store/mlflow/client.h"
#include "model_store/mlflow/json_records.h"

namespace serve {
namespace {

using Json = nlohmann::json;

// MLflow's limits for one call of log-batch.
constexpr std::size_t kMaxMetrics = 1000;
constexpr std::size_t kMaxParams = 100;
constexpr std::size_t kMaxTags = 100;
// Pages of a search: MLflow allows more, but a page is one answer in memory.
constexpr std::size_t kPage = 1000;

/// A list in pieces of at most `size`.
std::vector<Json> Pieces(const Json& list, std::size_t size) {
  std::vector<Json> pieces;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (i % size == 0) pieces.push_back(Json::array());
    pieces.back().push_back(list[i]);
  }
  return pieces;
}

}  // namespace

std::string MlflowQuote(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

Result<MlflowExperiment> MlflowClient::Experiment(std::string_view path, const char* parameter,
                                                  const std::string& value) const {
  Json answer;
  if (Status status = connection_.Get(path, {{parameter, value}}, answer); !status.ok()) return status;
  return ReadExperiment(answer.value("experiment", Json::object()));
}

Result<MlflowExperiment> MlflowClient::ExperimentByName(const std::string& name) const {
  return Experiment("experiments/get-by-name", "experiment_name", name);
}

Result<MlflowExperiment> MlflowClient::ExperimentById(const std::string& id) const {
  return Experiment("experiments/get", "experiment_id", id);
}

Result<MlflowExperiment> MlflowClient::OpenExperiment(const std::string& name) const {
  Result<MlflowExperiment> found = ExperimentByName(name);
  if (found || found.error().code != Code::kNotFound) return found;
  Json answer;
  // Sent again it would only say that it exists.
  const Status created = connection_.Send("POST", "experiments/create", {{"name", name}}, answer);
  if (!created.ok() && created.code != Code::kConflict) return created;
  return ExperimentByName(name);
}

Result<std::vector<MlflowExperiment>> MlflowClient::SearchExperiments(std::size_t limit) const {
  std::vector<MlflowExperiment> experiments;
  std::string page;
  do {
    Json answer;
    Json body = {{"max_results", std::min(limit - experiments.size(), kPage)}};
    if (!page.empty()) body["page_token"] = page;
    if (Status status = connection_.Send("POST", "experiments/search", body, answer); !status.ok())
      return status;
    for (const Json& one : ListOf(answer, "experiments")) experiments.push_back(ReadExperiment(one));
    page = StringOf(answer, "next_page_token");
  } while (!page.empty() && experiments.size() < limit);
  return experiments;
}

Result<MlflowRun> MlflowClient::CreateRun(const std::string& experiment_id, const std::string& name,
                                          std::int64_t start_ms, const MlflowTags& tags) const {
  Json body = {{"experiment_id", experiment_id}, {"start_time", start_ms}, {"tags", TagsJson(tags)}};
  if (!name.empty()) body["run_name"] = name;
  Json answer;
  if (Status status = connection_.Send("POST", "runs/create", body, answer, MlflowRepeat::kIfNotProcessed);
      !status.ok()) {
    return status;
  }
  MlflowRun run = ReadRun(answer.value("run", Json::object()));
  if (run.id.empty()) return Internal("MLflow created a run and did not say its id");
  return run;
}

Result<MlflowRun> MlflowClient::GetRun(const std::string& run_id) const {
  Json answer;
  if (Status status = connection_.Get("runs/get", {{"run_id", run_id}}, answer); !status.ok()) return status;
  return ReadRun(answer.value("run", Json::object()));
}

Result<std::vector<MlflowRun>> MlflowClient::SearchRuns(const std::vector<std::string>& experiment_ids,
                                                        const std::string& filter,
                                                        const std::string& order_by,
                                                        std::size_t limit) const {
  std::vector<MlflowRun> runs;
  std::string page;
  do {
    Json body = {{"experiment_ids", experiment_ids}, {"max_results", std::min(limit - runs.size(), kPage)}};
    if (!filter.empty()) body["filter"] = filter;
    if (!order_by.empty()) body["order_by"] = Json::array({order_by});
    if (!page.empty()) body["page_token"] = page;
    Json answer;
    if (Status status = connection_.Send("POST", "runs/search", body, answer); !status.ok()) return status;
    for (const Json& run : ListOf(answer, "runs")) runs.push_back(ReadRun(run));
    page = StringOf(answer, "next_page_token");
  } while (!page.empty() && runs.size() < limit);
  return runs;
}

Status MlflowClient::UpdateRun(const std::string& run_id, const std::string& status,
                               std::int64_t end_ms) const {
  Json body = {{"run_id", run_id}, {"status", status}};
  if (end_ms != 0) body["end_time"] = end_ms;
  Json answer;
  return connection_.Send("POST", "runs/update", body, answer);
}

Status MlflowClient::LogBatch(const std::string& run_id, const MlflowTags& params,
                              const std::vector<MlflowMetric>& metrics, const MlflowTags& tags) const {
  Json metric_list = Json::array();
  for (const MlflowMetric& metric : metrics) metric_list.push_back(MetricJson(metric));
  const std::pair<const char*, std::vector<Json>> kinds[] = {{"params", Pieces(TagsJson(params), kMaxParams)},
                                                             {"tags", Pieces(TagsJson(tags), kMaxTags)},
                                                             {"metrics", Pieces(metric_list, kMaxMetrics)}};
  for (const auto& [name, pieces] : kinds) {
    for (const Json& piece : pieces) {
      Json answer;
      if (Status status =
              connection_.Send("POST", "runs/log-batch", {{"run_id", run_id}, {name, piece}}, answer);
          !status.ok()) {
        return status;
      }
    }
  }
  return {};
}

Status MlflowClient::LogInputs(const std::string& run_id, const std::vector<MlflowDataset>& datasets) const {
  if (datasets.empty()) return {};
  Json list = Json::array();
  for (const MlflowDataset& dataset : datasets) list.push_back(DatasetJson(dataset));
  Json answer;
  return connection_.Send("POST", "runs/log-inputs", {{"run_id", run_id}, {"datasets", list}}, answer);
}

Result<std::vector<MlflowMetric>> MlflowClient::MetricHistory(const std::string& run_id,
                                                              const std::string& key) const {
  std::vector<MlflowMetric> history;
  std::string page;
  do {
    QueryParameters query = {{"run_id", run_id}, {"metric_key", key}};
    if (!page.empty()) query.emplace_back("page_token", page);
    Json answer;
    if (Status status = connection_.Get("metrics/get-history", query, answer); !status.ok()) return status;
    for (const Json& metric : ListOf(answer, "metrics")) history.push_back(ReadMetric(metric));
    page = StringOf(answer, "next_page_token");
  } while (!page.empty());
  return history;
}

}  // namespace serve
