// What is served from the start: load_models and the last snapshot; and the snapshots of every change.

#include <algorithm>
#include <atomic>
#include <functional>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "serve/api/management_api.h"
#include "serve/api/traffic_state.h"
#include "serve/base/log.h"

namespace serve {
namespace {

/// Calls `work` for 0 … count-1, on at most `threads` threads at once.
void InParallel(std::size_t count, int threads, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> workers;
  for (std::size_t i = 0; i < std::min(count, static_cast<std::size_t>(std::max(1, threads))); ++i) {
    workers.emplace_back([&] {
      for (std::size_t item = next++; item < count; item = next++) work(item);
    });
  }
}

}  // namespace

/// The snapshot that this start follows.
struct ManagementApi::Restoring {
  std::vector<SnapshotModel> models;
  std::vector<SnapshotWorkflow> workflows;
  std::vector<SnapshotTraffic> traffic;
  std::string file;        // its name in the folder; empty: it is not from there
  std::string why_not;     // the first reason why it does not fit
  bool only_this = false;  // the configuration named it: load_models does not count
};

ManagementApi::Restoring ManagementApi::FindSnapshot(const std::string& model_snapshot) {
  Restoring restoring;
  Snapshot found;
  if (!model_snapshot.empty()) {
    Result<Snapshot> parsed = ParseSnapshotJson(model_snapshot);
    if (!parsed) {
      LogError("the setting model_snapshot is ignored: {}", parsed.error().message);
      return restoring;
    }
    found = std::move(*parsed);
    restoring.only_this = true;
    LogInfo("model_snapshot decides what is loaded; load_models does not count.");
  } else if (snapshots_) {
    std::optional<SnapshotFolder::Found> latest = snapshots_->Latest();
    if (!latest) return restoring;
    found = std::move(latest->snapshot);
    restoring.file = latest->file;
    snapshots_->BeginRestore(latest->file);
    LogInfo("Restoring {} versions of the snapshot {}.", found.models.size(),
            (snapshots_->path() / latest->file).string());
  }
  for (const std::string& problem : found.problems) LogError("snapshot: {}", problem);
  if (!found.problems.empty()) restoring.why_not = found.problems.front();
  restoring.models = std::move(found.models);
  restoring.workflows = std::move(found.workflows);
  restoring.traffic = std::move(found.traffic);
  return restoring;
}

void ManagementApi::SayAgain(const SnapshotModel& model, RegisterRequest& request) {
  const ModelConfig& given = model.given;
  const auto seconds = [](std::chrono::milliseconds time) { return static_cast<int>(time.count() / 1000); };
  if (given.min_workers && given.max_workers)
    request.exact_workers = {*given.min_workers, *given.max_workers};
  if (given.batch_size) request.batch_size = given.batch_size;
  if (given.max_batch_delay) request.max_batch_delay_ms = static_cast<int>(given.max_batch_delay->count());
  if (given.response_timeout) request.response_timeout_s = seconds(*given.response_timeout);
  if (given.startup_timeout) request.startup_timeout_s = seconds(*given.startup_timeout);
}

Result<ManagementApi::Registered> ManagementApi::Restore(const SnapshotModel& model) {
  RegisterRequest request;
  request.url = model.url;
  request.model_name = model.call.name;
  request.version = model.call.version;
  request.handler = model.call.handler;
  request.inputs = model.call.inputs;
  request.batch = model.call.batch;
  SayAgain(model, request);
  return RegisterWith(request, {.workers = options_.default_workers, .expected = &model});
}

std::vector<Status> ManagementApi::LoadAtStart(const StartPlan& plan) {
  Restoring restoring = FindSnapshot(plan.model_snapshot);
  const std::vector<StartItem> items = restoring.only_this
                                           ? std::vector<StartItem>{}
                                           : ParseLoadModels(plan.load_models, options_.model_store);
  std::vector<Status> results(items.size());
  std::vector<Registered> registered(items.size());
  for (const StartItem& item : items) models_.NoteStartLoading(item.source, true);
  InParallel(items.size(), options_.cpus, [&](std::size_t i) {
    RegisterRequest request;
    request.url = items[i].source;
    if (!items[i].name.empty()) request.model_name = items[i].name;
    Result<Registered> done =
        RegisterWith(request, {.at_start = true, .workers = plan.workers, .snapshot = &restoring.models});
    models_.NoteStartLoading(items[i].source, false);
    if (done) {
      registered[i] = std::move(*done);
      return;
    }
    results[i] = done.error();
    if (models_.Draining()) {  // its files have been removed under it
      LogInfo("Loading {} was given up: the server is stopping.", items[i].source);
      return;
    }
    LogError("Failed to load model: {}: {}", items[i].source, done.error().message);
    models_.NoteStartFailure(items[i].source, done.error().message);
  });

  std::vector<SnapshotModel> missing;
  for (const SnapshotModel& model : restoring.models) {
    if (!models_.Contains(model.name, model.version)) missing.push_back(model);
  }
  std::vector<Status> restored(missing.size());
  InParallel(missing.size(), options_.cpus, [&](std::size_t i) {
    const Result<Registered> done = Restore(missing[i]);
    // Somebody may have registered it in the meantime.
    if (done || done.error().code == Code::kConflict) return;
    LogError("Failed to restore model {} version {}: {}", missing[i].name, missing[i].version,
             done.error().message);
    restored[i] = done.error();
  });
  if (plan.restore_workflows) {
    for (Status& status : plan.restore_workflows(restoring.workflows)) restored.push_back(std::move(status));
  }
  for (Status& status : restored) {
    if (status.ok()) continue;
    if (restoring.why_not.empty()) restoring.why_not = status.message;
    results.push_back(std::move(status));
  }
  ChooseDefaults(registered, restoring.models);
  for (const SnapshotTraffic& one : restoring.traffic) {
    const Status status = RestoreTraffic(models_, one.model, one.kept);
    if (!status.ok()) LogError("Failed to restore the traffic of model {}: {}", one.model, status.message);
  }
  if (!restoring.file.empty()) {
    if (!restoring.why_not.empty()) snapshots_->SetAside(restoring.file, restoring.why_not);
    snapshots_->EndRestore();
  }
  {
    const std::lock_guard lock(snapshot_mutex_);
    write_snapshots_ = snapshots_.has_value();
  }
  WriteSnapshot("startup");
  std::erase_if(results, [](const Status& status) { return status.ok(); });
  return results;
}

/// Which version of a model came first depended on their sizes.
void ManagementApi::ChooseDefaults(const std::vector<Registered>& registered,
                                   const std::vector<SnapshotModel>& snapshot) {
  std::set<std::string> chosen;
  const auto choose = [&](const std::string& name, const std::string& version) {
    if (name.empty() || chosen.contains(name)) return;
    if (models_.SetDefault(name, version).ok()) chosen.insert(name);
  };
  for (const SnapshotModel& model : snapshot) {
    if (model.given.default_version) choose(model.name, model.version);
  }
  for (const Registered& one : registered) {
    const ModelConfig* config = FindModelConfig(one.name, one.version);
    if (config != nullptr && config->default_version) choose(one.name, one.version);
  }
  for (const Registered& one : registered) choose(one.name, one.version);
}

void ManagementApi::WriteSnapshot(std::string_view kind) {
  const std::lock_guard lock(snapshot_mutex_);
  if (!write_snapshots_) return;
  std::vector<ModelHandle> versions;
  std::vector<bool> is_default;
  std::vector<SnapshotTraffic> traffic;
  for (const ServedModels::Entry& entry : models_.List()) {
    if (nlohmann::ordered_json kept = KeptTraffic(entry); !kept.is_null())
      traffic.push_back({entry.name, std::move(kept)});
    for (const ModelHandle& version : entry.versions) {
      if (!version->info().call.workflow.empty()) continue;  // it is not served on its own
      versions.push_back(version);
      is_default.push_back(version->info().version == entry.default_version);
    }
  }
  const auto now = std::chrono::system_clock::now();
  const std::string name = snapshots_->NextName(kind, now);
  const Status status =
      snapshots_->Write(name, SnapshotText(versions, is_default, workflows_, name, now, traffic));
  if (status.ok()) {
    snapshots_failed_ = false;
  } else if (!std::exchange(snapshots_failed_, true)) {  // a read-only store says it once
    LogWarning(
        "what is registered is not kept for the next start: {}; `config_snapshots=false` turns it off, "
        "`snapshot_folder` names another place",
        status.message);
  }
}

void ManagementApi::NoteWorkflows(std::vector<SnapshotWorkflow> workflows) {
  {
    const std::lock_guard lock(snapshot_mutex_);
    workflows_ = std::move(workflows);
  }
  WriteSnapshot("snapshot");
}

void ManagementApi::StopSnapshots() {
  WriteSnapshot("shutdown");
  const std::lock_guard lock(snapshot_mutex_);
  if (!write_snapshots_ && snapshots_) snapshots_->EndRestore();  // stopped by us, not by a model
  write_snapshots_ = false;
}

}  // namespace serve
