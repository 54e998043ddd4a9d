#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/api/archive_source.h"
#include "serve/api/options.h"
#include "serve/api/snapshot.h"
#include "serve/api/snapshot_folder.h"
#include "serve/api/start_models.h"
#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"
#include "serve/model/loader.h"
#include "serve/model/served_models.h"

namespace serve {

/// Parameters of `POST /models`, as TorchServe names them. nullopt: not given.
struct RegisterRequest {
  std::string url;  // file name in the model store; required
  std::optional<std::string> model_name;
  std::optional<std::string> handler;
  std::optional<std::string> runtime;  // checked and otherwise not used: the model file tells it
  std::optional<std::string> version;  // ours: for a bare .pt, which has no manifest; default 1.0
  std::optional<int> batch_size;
  std::optional<int> max_batch_delay_ms;
  std::optional<int> initial_workers;
  std::optional<int> response_timeout_s;
  std::optional<int> startup_timeout_s;
  std::vector<std::string> inputs;   // ours: `name:dtype:[shape]`, for a model that declares none
  std::optional<std::string> batch;  // ours: `1..64` or `8`, likewise
  bool synchronous = true;
  std::string workflow;    // not empty: for this workflow, which removes it again
  bool by_server = false;  // no client asks: the model API may be off
  /// Of a snapshot: minimum and maximum of workers, whatever the archive says.
  std::optional<std::pair<int, int>> exact_workers;
};

/// What is served from the start.
struct StartPlan {
  std::string load_models;     // see start_models.h
  int workers = 1;             // of a version of which nothing else is said
  std::string model_snapshot;  // a snapshot's JSON text: it alone decides then
  /// Registers the workflows of the snapshot; called once the models are there. One error for each that
  /// failed.
  std::function<std::vector<Status>(const std::vector<SnapshotWorkflow>&)> restore_workflows{};
};

struct ScaleRequest {
  std::string model;
  std::string version;  // empty: the default version
  int min_worker = 1;
  std::optional<int> max_worker;  // default: min_worker
  bool synchronous = false;
};

struct ManagementReply {
  enum class Outcome : std::uint8_t { kDone, kAccepted, kPartial };  // HTTP 200, 202, 206
  Outcome outcome = Outcome::kDone;
  nlohmann::ordered_json body;
};

/// The management use cases, without a protocol. Texts and shapes: TorchServe's management API.
///
/// Settings of a version, the strongest first: the register call; the archive's model-config.yaml; the
/// setting `models`; the settings for all models. One exception, as in TorchServe: minWorkers and maxWorkers
/// of model-config.yaml beat initial_workers. Threads: every method from any thread but an I/O thread: they
/// read files, load models and wait for workers.
class ManagementApi {
 public:
  /// `models` and `loader` are borrowed from the application and outlive this.
  ManagementApi(ServedModels& models, Loader& loader, ManagementOptions options);

  Result<ManagementReply> Register(const RegisterRequest& request);
  /// `version`: empty for the default version, "all" for every version. `customized`: with the metadata of
  /// the archive; needs a worker, as in TorchServe, and does not go with "all".
  Result<ManagementReply> Describe(const std::string& model, const std::string& version,
                                   bool customized = false) const;
  Result<ManagementReply> List(int limit, int next_page_token) const;
  Result<ManagementReply> Scale(const ScaleRequest& request);
  Result<ManagementReply> SetDefault(const std::string& model, const std::string& version);
  /// A part of a workflow is kConflict: the workflow is removed as a whole.
  /// `by_server`: no client asks, so that the model API may be off.
  Result<ManagementReply> Unregister(const std::string& model, const std::string& version,
                                     bool by_server = false);
  /// Removes what was registered for this workflow. The first error; the others are tried all the same.
  Status UnregisterModelsOf(const std::string& workflow);
  /// kMethodNotAllowed when the model API is off.
  [[nodiscard]] Status RefuseModelApi(std::string_view what) const;

  /// Registers what `load_models` names, and what the newest snapshot names besides, as many at once as there
  /// are CPUs. What a call had said before the snapshot (workers, batch size, …) holds again, also for a
  /// version of `load_models`; all else is as configured now. The default version is the snapshot's, else the
  /// one that `models` calls defaultVersion, else the first of the list.
  ///
  /// A model that fails does not stop the others: the log names it, and for one of `load_models` /ping too. A
  /// snapshot of which something fails is set aside. One error per item that failed.
  std::vector<Status> LoadAtStart(const StartPlan& plan);
  /// What is registered besides models, after a change: a snapshot notes it.
  void NoteWorkflows(std::vector<SnapshotWorkflow> workflows);
  /// The traffic of a model was changed: a snapshot notes it.
  void NoteTraffic() { WriteSnapshot("snapshot"); }
  /// The snapshot of the end; changes after it are not noted any more.
  void StopSnapshots();

 private:
  /// On whose behalf a version is registered.
  struct Origin {
    bool at_start = false;
    int workers = 0;                                       // when nobody says otherwise
    const std::vector<SnapshotModel>* snapshot = nullptr;  // what it says of the version holds
    const SnapshotModel* expected = nullptr;               // the archive must hold this name and version
  };
  struct Registered {
    std::string name;
    std::string version;
    int workers = 0;
  };
  Result<Registered> RegisterWith(const RegisterRequest& request, const Origin& origin);
  Result<LoadRequest> MakeLoadRequest(const RegisterRequest& request, const Origin& origin) const;
  Result<ArchiveSource> FindSource(const RegisterRequest& request, const Origin& origin) const;
  void Configure(const RegisterRequest& request, const Origin& origin, const ModelConfig* of_setting,
                 const ModelConfig& of_archive, VersionOptions& options) const;
  [[nodiscard]] const ModelConfig* FindModelConfig(const std::string& name, const std::string& version) const;
  /// Whether a served version was loaded from this file of the model store.
  [[nodiscard]] bool IsSource(const std::string& file) const;
  /// Takes the version out of service, and its archive out of the store if it was fetched.
  Status Remove(const VersionInfo& version);

  struct Restoring;
  Restoring FindSnapshot(const std::string& model_snapshot);
  Result<Registered> Restore(const SnapshotModel& model);
  /// What the snapshot's version had been given goes into `request`.
  static void SayAgain(const SnapshotModel& model, RegisterRequest& request);
  void ChooseDefaults(const std::vector<Registered>& registered, const std::vector<SnapshotModel>& snapshot);
  void WriteSnapshot(std::string_view kind);

  ServedModels& models_;
  Loader& loader_;
  const ManagementOptions options_;
  const ArchiveSources sources_;

  std::mutex snapshot_mutex_;  // guards everything below: one snapshot after the other
  std::optional<SnapshotFolder> snapshots_;
  std::vector<SnapshotWorkflow> workflows_;
  bool write_snapshots_ = false;  // from the end of the start to the beginning of the end
  bool snapshots_failed_ = false;
};

}  // namespace serve
