#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model_store/archive/archive.h"
#include "serve/api/archive_source.h"
#include "serve/api/inference_api.h"
#include "serve/api/management_api.h"
#include "serve/api/options.h"
#include "serve/base/status.h"
#include "serve/base/unique_function.h"
#include "serve/telemetry/metrics.h"
#include "serve/workflow/workflow_table.h"

namespace serve {

/// The thread on which one request goes through its workflow.
struct WorkflowThread {
  /// Runs the function soon on it; from any thread. When the thread has ended, the function is dropped.
  std::function<void(UniqueFunction<void()>)> post;
  /// What InferenceApi::Accepted::run_here asks for; called on the thread.
  std::function<void(ModelHandle)> run_here;
};

/// The use cases of workflows, without a protocol. Texts and shapes: TorchServe's workflow APIs.
///
/// A workflow's models are registered through ManagementApi under `<workflow>__<node>`, all or none, and can
/// be asked directly too. They go with the workflow, and not without it.
///
/// Threads: Predict from any thread, it never blocks; the others as ManagementApi's.
class WorkflowApi {
 public:
  /// Everything is borrowed from the application and outlives this. Archives are unpacked below
  /// `unpack_folder`.
  WorkflowApi(ManagementApi& management, InferenceApi& inference, Metrics& metrics, ManagementOptions options,
              std::filesystem::path unpack_folder, UnpackLimits limits);

  /// `url`: as in a register call, but of the workflow store. `name`: instead of the archive's.
  Result<ManagementReply> Register(const std::string& url, const std::optional<std::string>& name);
  Result<ManagementReply> List(int limit, int next_page_token) const;
  Result<ManagementReply> Describe(const std::string& name) const;
  /// Waits for the requests that run (unregister_model_timeout), then removes the models.
  Result<ManagementReply> Unregister(const std::string& name);

  /// Registers what a snapshot names; the log says which failed.
  std::vector<Status> Restore(const std::vector<SnapshotWorkflow>& workflows);

  /// Takes one request through the workflow; see RunWorkflow. Called on `thread`; `done` is called there too,
  /// before this returns (unknown workflow, …) or later. Returns the deadline of the answer.
  TimePoint Predict(std::string_view name, Request request, RequestContext context, WorkflowThread thread,
                    UniqueFunction<void(Result<Response>)> done);

 private:
  /// A name that is being registered or removed.
  class Reservation;

  Result<ArchiveSource> FindSource(const std::string& url) const;
  Result<std::string> RegisterFrom(const ArchiveSource& source, const std::string& url,
                                   const std::optional<std::string>& name);
  Status RegisterModels(const Workflow& workflow);
  void NoteChange();

  ManagementApi& management_;
  InferenceApi& inference_;
  Metrics& metrics_;
  const ManagementOptions options_;
  const std::filesystem::path unpack_folder_;
  const UnpackLimits limits_;
  const ArchiveSources sources_;  // of the workflow store
  WorkflowTable table_;

  std::mutex mutex_;  // guards the next
  std::set<std::string> reserved_;
  std::mutex note_mutex_;  // one note of a change after the other
};

}  // namespace serve
