#include "model_store/mlflow/send_run.h"

#include <charconv>

#include <fmt/format.h>

namespace serve {
namespace {

/// The record's own run on the server: known, found by its tag, or made.
Result<MlflowRun> OpenRun(const MlflowClient& client, const RunFolder& folder, const RunRecord& record) {
  for (const std::string& known : {record.sent.run_id, record.server_run_id}) {
    if (!known.empty()) return client.GetRun(known);
  }
  const Result<MlflowExperiment> experiment = client.OpenExperiment(record.experiment);
  if (!experiment) return experiment.error();
  // A try before this one may have made it without hearing the answer.
  Result<std::vector<MlflowRun>> found = client.SearchRuns(
      {experiment->id}, fmt::format("tags.\"{}\" = {}", kRunIdTag, MlflowQuote(record.id)), "", 1);
  if (!found) return found.error();
  if (!found->empty()) return std::move(found->front());
  MlflowTags tags = {{std::string(kRunIdTag), record.id}};
  if (!record.parent.empty()) {
    const Result<RunRecord> parent = folder.Read(record.parent);
    if (!parent || parent->sent.run_id.empty()) {
      return Status{Code::kConflict,
                    fmt::format("run {} is a part of run {}, which is not on the server yet: send that first",
                                record.id, record.parent)};
    }
    tags["mlflow.parentRunId"] = parent->sent.run_id;
  }
  return client.CreateRun(experiment->id, record.name, record.start_ms, tags);
}

std::int64_t TrainedMs(const MlflowModelVersion& version) {
  const auto tag = version.tags.find(kTrainedTag);
  std::int64_t trained = 0;
  if (tag != version.tags.end()) {
    std::from_chars(tag->second.data(), tag->second.data() + tag->second.size(), trained);
  }
  return trained;
}

Result<MlflowModelVersion> OpenVersion(const MlflowClient& client, const RunRecord& record) {
  const RunRegistration& registration = record.registration;
  if (Status status = client.CreateModel(registration.model, "", {}); !status.ok()) return status;
  Result<std::vector<MlflowModelVersion>> found = client.SearchVersions(
      fmt::format("name={} and run_id={}", MlflowQuote(registration.model), MlflowQuote(record.sent.run_id)),
      1);
  if (!found) return found.error();
  if (!found->empty()) return std::move(found->front());
  MlflowNewVersion version{registration.model,
                           fmt::format("runs:/{}/{}", record.sent.run_id, kModelArtifacts),
                           record.sent.run_id, registration.description, registration.tags};
  version.tags.emplace(kTrainedTag, std::to_string(record.end_ms));
  return client.CreateVersion(version);
}

Status Register(const MlflowClient& client, RunRecord& record,
                const std::function<void(const std::string&)>& note) {
  const RunRegistration& registration = record.registration;
  const Result<MlflowModelVersion> version = OpenVersion(client, record);
  if (!version) return version.error();
  for (const std::string& alias : registration.aliases) {
    const Result<MlflowModelVersion> now = client.VersionOfAlias(registration.model, alias);
    if (!now && now.error().code != Code::kNotFound) return now.error();
    if (now && now->version != version->version && TrainedMs(*now) > record.end_ms) {
      note(fmt::format("{}@{} stays with version {}, which was trained after this run", registration.model,
                       alias, now->version));
      continue;
    }
    if (Status status = client.SetAlias(registration.model, alias, version->version); !status.ok()) {
      return status;
    }
  }
  record.sent.model_version = version->version;
  return {};
}

}  // namespace

Status SendLockedRun(const MlflowClient& client, const RunFolder& folder, RunRecord& record,
                     const std::function<void(const std::string&)>& note) {
  if (record.sent.uri != client.connection().base()) record.sent = {};  // another server knows nothing of it
  const Result<MlflowRun> run = OpenRun(client, folder, record);
  if (!run) return run.error();
  record.sent.uri = client.connection().base();
  record.sent.run_id = run->id;
  record.sent.complete = false;
  if (Status status = folder.Write(record); !status.ok()) return status;

  MlflowTags tags = record.tags;
  tags.emplace(kRunIdTag, record.id);
  // The names of the source are the project's when `mlflow run` made the run.
  if (!record.server_run_id.empty()) {
    std::erase_if(tags, [](const auto& tag) { return tag.first.starts_with("mlflow."); });
  }
  // A parameter cannot be changed: `mlflow run` has noted its own, perhaps as 3e-4 where we say 0.0003.
  MlflowTags params = record.params;
  std::erase_if(params, [&run](const auto& param) { return run->params.contains(param.first); });
  if (Status status = client.LogBatch(run->id, params, record.metrics, tags); !status.ok()) {
    return status;
  }
  if (Status status = client.LogInputs(run->id, record.datasets); !status.ok()) return status;
  const std::vector<MlflowArtifact> artifacts = folder.Artifacts(record.id);
  if (!artifacts.empty() && !MlflowClient::IsProxied(run->artifact_uri)) {
    return Status{Code::kNotImplemented,
                  fmt::format("the artifacts of run {} go to {}, past the server: start `mlflow server` with "
                              "--serve-artifacts (its default) and a new experiment",
                              run->id, run->artifact_uri)};
  }
  for (const MlflowArtifact& artifact : artifacts) {
    if (Status status = client.UploadArtifact(run->artifact_uri + "/" + artifact.path,
                                              folder.ArtifactPath(record.id) / artifact.path);
        !status.ok()) {
      return status;
    }
  }
  if (!record.registration.model.empty()) {
    if (Status status = Register(client, record, note); !status.ok()) return status;
  }
  if (Status status = client.UpdateRun(run->id, record.status, record.end_ms); !status.ok()) return status;
  record.sent.complete = record.status != "RUNNING";
  return folder.Write(record);
}

Status SendRun(const MlflowClient& client, const RunFolder& folder, const std::string& id,
               const std::function<void(const std::string&)>& note) {
  const auto lock = folder.TryLock(id);
  if (lock == nullptr) {
    return Status{Code::kConflict, fmt::format("run {} is being trained or sent by another process", id)};
  }
  Result<RunRecord> record = folder.Read(id);  // under the lock: another one may just have sent it
  if (!record) return record.error();
  if (record->status == "RUNNING") {  // nobody holds the lock: its process is gone
    record->status = "KILLED";
    record->end_ms = NowMs();
  }
  return SendLockedRun(client, folder, *record, note);
}

}  // namespace serve
