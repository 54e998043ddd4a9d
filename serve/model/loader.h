#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"
#include "serve/model/model_version.h"
#include "serve/model/tuner.h"
#include "serve/runtime/runtime.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// What is to be loaded. nullopt: as the archive says.
struct LoadRequest {
  std::filesystem::path source;  // archive, folder or bare .pt or .pt2
  std::string url;               // what the caller named it; used in messages and shown in describe
  std::optional<std::string> name;
  std::optional<std::string> version;
  std::optional<std::string> handler;
  std::vector<TensorSpec> inputs;  // for a model whose archive declares none
  BatchRange batch;                // likewise
  VersionOptions options;
  bool at_start = false;
  nlohmann::ordered_json origin;      // into VersionInfo
  std::shared_ptr<const void> lease;  // likewise
  CallParameters call;
  /// Makes the options of the version, once its name and what its model-config.yaml says are known. May be
  /// empty: the archive's configuration then counts.
  std::function<void(const std::string& name, const std::string& version, const ModelConfig& archive,
                     VersionOptions& options)>
      configure;
  /// Asked once name and version are known, before anything is loaded: refuses a duplicate early. May be
  /// empty.
  std::function<Status(const std::string& name, const std::string& version)> admit;
};

/// Turns an archive into a version that is known to work. Loading is a sanity check, in named steps:
///   unpack → verify checksums → read manifest → load → handler → check (run the example input, else a
///   made-up one of the declared shape) → warm up
/// A step that fails ends it: the status (kInvalidModel, or kModelNotFound for a missing source) names the
/// step, the file and the engine's own reason, and nothing is left on the disk or in memory.
///
/// Time:    the steps from `load` on together may take startup_timeout; a model that takes longer is an error
///          (kInternal). Nothing can interrupt libtorch: the attempt goes on by itself and is thrown away
///          when it ends. Busy() says so meanwhile.
/// Threads: Load from several management threads at once. It takes as long as the model takes to load.
class Loader {
 public:
  /// `metrics` is borrowed from the application. `unpack_folder` is where archives are unpacked.
  Loader(std::vector<std::unique_ptr<RuntimeFactory>> factories, Metrics& metrics,
         std::filesystem::path unpack_folder, UnpackLimits limits, TunerOptions tuning = {});

  ~Loader();  // waits for attempts that were given up
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  Result<ModelHandle> Load(const LoadRequest& request);
  /// Gives up tuning, so that the process can end soon.
  void StopTuning() { tuner_.Stop(); }
  /// A version is being timed, or loaded although its time is over: the destructor would wait for it.
  [[nodiscard]] bool Busy() const;

 private:
  struct Attempt;
  Result<ModelHandle> LoadNow(Attempt& attempt);
  Result<ModelHandle> LoadUnpacked(Attempt& attempt, const UnpackedArchive& archive, TimePoint start);

  const std::vector<std::unique_ptr<RuntimeFactory>> factories_;
  Metrics& metrics_;
  const std::filesystem::path unpack_folder_;
  const UnpackLimits limits_;
  Tuner tuner_;
  mutable std::mutex mutex_;  // guards running_
  std::condition_variable ended_;
  int running_ = 0;  // attempts whose thread has not ended
};

}  // namespace serve
