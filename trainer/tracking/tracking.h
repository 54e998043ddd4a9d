#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

#include "model_store/mlflow/run_record.h"
#include "serve/base/status.h"

namespace serve::trainer {

/// Where a training is written down. Flags: tracking/flags.h.
struct TrackingOptions {
  bool off = false;
  std::string uri;  // of an MLflow server; empty: files only
  std::string experiment = "news";
  std::string run_name;
  std::filesystem::path runs = "runs";  // folder of the files
  MlflowTags tags;
  RunRegistration registration;  // model empty: not registered
  bool required = false;         // a run that could not be sent fails the command
  std::filesystem::path result;  // JSON file for scripts; empty: none
  std::string parent;            // id of the run that this one is a part of
  std::filesystem::path sweep;   // a grid; empty: one training
  std::string sweep_metric = "accuracy";
};

/// One training that is written down.
///
/// What is known of a trained model stands in its archive: the lineage in the manifest and metrics.json. So a
/// recipe does not know of tracking; Finish reads its archive. Everything goes to files first (RunFolder),
/// then to the server; a server that is down costs seconds and loses nothing.
class TrackedRun {
 public:
  /// Writes the run as RUNNING. A folder that cannot be written is told on `err`, and nothing is tracked.
  TrackedRun(const TrackingOptions& options, const std::string& recipe, std::ostream& err, bool quiet);

  /// `archive`: what the recipe packed. `failure`: what went wrong, else empty. Writes charts and artifacts,
  /// sends everything, writes `result`. False: `required` and not sent.
  bool Finish(const std::filesystem::path& archive, const std::string& failure);

  [[nodiscard]] const RunRecord& record() const { return record_; }
  [[nodiscard]] bool on() const { return lock_ != nullptr; }
  /// Where artifacts of the run may be put before Finish.
  [[nodiscard]] std::filesystem::path ArtifactPath() const { return folder_.ArtifactPath(record_.id); }

 private:
  void ReadArchive(const std::filesystem::path& archive);
  Status WriteArtifacts(const std::filesystem::path& archive);
  Status Send();
  void WriteResult(const std::filesystem::path& archive);
  void Say(const std::string& text);

  const TrackingOptions& options_;
  std::ostream& err_;
  const bool quiet_;
  RunFolder folder_;
  RunRecord record_;
  std::unique_ptr<RunFolder::Lock> lock_;
  nlohmann::ordered_json lineage_;
  nlohmann::ordered_json metrics_;
};

/// Runs a recipe as a tracked run. `run` gets the stream for its errors and answers with its exit code.
/// `record`, if any, gets what was written.
int RunTracked(const TrackingOptions& options, const std::string& recipe,
               const std::filesystem::path& archive, bool quiet, std::ostream& err,
               const std::function<int(std::ostream&)>& run, RunRecord* record = nullptr);

}  // namespace serve::trainer
