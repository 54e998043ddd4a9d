#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model_store/mlflow/client.h"
#include "serve/base/status.h"

namespace serve {

/// What the registry is to be told about a run's archive.
struct RunRegistration {
  std::string model;  // empty: nothing
  std::vector<std::string> aliases;
  MlflowTags tags;
  std::string description;
};

/// What a tracking server knows of a run already. Kept so that sending again does nothing twice.
struct RunSent {
  std::string uri;            // of the server; empty: nothing was sent yet
  std::string run_id;         // there
  std::string model_version;  // of the registration; empty: not registered
  bool complete = false;      // all of it is there
};

/// One training as files: `<runs>/<id>/run.json` holds this struct, `<runs>/<id>/artifacts/` its files.
struct RunRecord {
  std::string id;  // 32 hexadecimal digits
  std::string experiment = "Default";
  std::string name;
  std::string status = "RUNNING";  // RUNNING, FINISHED, FAILED, KILLED
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;
  std::string parent;         // id of the run that this one is a part of
  std::string server_run_id;  // the run that a server made before (`mlflow run`); empty: make one
  MlflowTags tags;
  MlflowTags params;
  std::vector<MlflowMetric> metrics;  // every step
  std::vector<MlflowDataset> datasets;
  RunRegistration registration;
  RunSent sent;

  /// The last value of each metric.
  [[nodiscard]] std::map<std::string, double, std::less<>> LastMetrics() const;
};

/// 32 random hexadecimal digits.
std::string NewRunId();
std::int64_t NowMs();

/// A folder of runs. What a run.json says is written to a new file first and then renamed.
class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}
  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }
  [[nodiscard]] std::filesystem::path RunPath(std::string_view id) const { return folder_ / id; }
  [[nodiscard]] std::filesystem::path ArtifactPath(std::string_view id) const {
    return folder_ / id / "artifacts";
  }

  /// Makes the folders that are missing. Errors: kInternal.
  Status Write(const RunRecord& record) const;
  /// `id` may be the beginning of one. Errors: kNotFound, kInvalidArgument (more than one begins so, or the
  /// file is damaged).
  Result<RunRecord> Read(std::string_view id) const;
  /// All runs, the newest first; what cannot be read is told in `problems`.
  [[nodiscard]] std::vector<RunRecord> List(std::vector<std::string>* problems = nullptr) const;
  /// Files of a run below artifacts/, sorted, with their size.
  [[nodiscard]] std::vector<MlflowArtifact> Artifacts(std::string_view id) const;

  /// Held while a run is trained or sent, by one process. Empty: another one has it. Gone with the process.
  class Lock {
   public:
    explicit Lock(int descriptor) : descriptor_(descriptor) {}
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    int descriptor_;
  };
  [[nodiscard]] std::unique_ptr<Lock> TryLock(std::string_view id) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace serve
