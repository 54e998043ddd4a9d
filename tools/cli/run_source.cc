#include "tools/cli/run_source.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

namespace serve {
namespace {

ShownRun ShowRecord(const RunRecord& record) {
  ShownRun shown;
  MlflowRun& run = shown.run;
  run.id = record.id;
  run.experiment_id = record.experiment;
  run.name = record.name;
  run.status = record.status;
  run.start_ms = record.start_ms;
  run.end_ms = record.end_ms;
  run.tags = record.tags;
  run.params = record.params;
  for (const auto& [key, value] : record.LastMetrics()) run.metrics.push_back({key, value, record.end_ms, 0});
  run.datasets = record.datasets;
  shown.experiment = record.experiment;
  shown.sent = record.sent.complete ? "yes" : record.sent.uri.empty() ? "no" : "partly";
  return shown;
}

Result<std::vector<ShownRun>> ListServer(const MlflowClient& client, const std::string& experiment,
                                         std::size_t limit) {
  std::vector<MlflowExperiment> experiments;
  if (experiment.empty()) {
    Result<std::vector<MlflowExperiment>> found = client.SearchExperiments();
    if (!found) return found.error();
    experiments = *std::move(found);
  } else {
    Result<MlflowExperiment> found = client.ExperimentByName(experiment);
    if (!found) return found.error();
    experiments.push_back(*std::move(found));
  }
  std::vector<std::string> ids;
  std::map<std::string, std::string, std::less<>> names;
  for (const MlflowExperiment& one : experiments) {
    ids.push_back(one.id);
    names[one.id] = one.name;
  }
  const Result<std::vector<MlflowRun>> runs = client.SearchRuns(ids, "", "attributes.start_time DESC", limit);
  if (!runs) return runs.error();
  std::vector<ShownRun> shown;
  for (const MlflowRun& run : *runs) shown.push_back({run, names[run.experiment_id], "", {}});
  return shown;
}

}  // namespace

Result<std::vector<ShownRun>> RunSource::List(const std::string& experiment, std::size_t limit,
                                              std::vector<std::string>& problems) const {
  if (!uri.empty()) {
    const Result<MlflowSettings> settings = MlflowSettingsOf(uri);
    if (!settings) return settings.error();
    return ListServer(MlflowClient(*settings), experiment, limit);
  }
  std::vector<ShownRun> shown;
  for (const RunRecord& record : RunFolder(folder).List(&problems)) {
    if (shown.size() == limit) break;
    if (experiment.empty() || record.experiment == experiment) shown.push_back(ShowRecord(record));
  }
  return shown;
}

Result<ShownRun> RunSource::Read(const std::string& id) const {
  if (uri.empty()) {
    const RunFolder runs(folder);
    const Result<RunRecord> record = runs.Read(id);
    if (!record) return record.error();
    ShownRun shown = ShowRecord(*record);
    shown.artifacts = runs.Artifacts(record->id);
    return shown;
  }
  const Result<MlflowSettings> settings = MlflowSettingsOf(uri);
  if (!settings) return settings.error();
  const MlflowClient client(*settings);
  const Result<MlflowRun> run = client.GetRun(id);
  if (!run) return run.error();
  ShownRun shown{*run, run->experiment_id, "", {}};
  if (const Result<MlflowExperiment> experiment = client.ExperimentById(run->experiment_id)) {
    shown.experiment = experiment->name;
  }
  if (MlflowClient::IsProxied(run->artifact_uri)) {
    if (Result<std::vector<MlflowArtifact>> tree = client.ArtifactTree(run->artifact_uri))
      shown.artifacts = *tree;
  }
  return shown;
}

}  // namespace serve
