#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "model_store/mlflow/client.h"
#include "model_store/mlflow/run_record.h"
#include "serve/base/status.h"

namespace serve {

/// A run as the tools show it, wherever it was read from.
struct ShownRun {
  MlflowRun run;                          // of files: with the experiment's name as experiment_id
  std::string experiment;                 // name
  std::string sent;                       // of files: "yes", "no" or "partly"; of a server: empty
  std::vector<MlflowArtifact> artifacts;  // Read only
};

/// Where runs are read from: a folder, or a server when there is a URI.
struct RunSource {
  std::string uri;
  std::filesystem::path folder = "runs";

  /// The newest first; `experiment` empty: of all. What cannot be read is told in `problems`.
  [[nodiscard]] Result<std::vector<ShownRun>> List(const std::string& experiment, std::size_t limit,
                                                   std::vector<std::string>& problems) const;
  /// One with its artifacts.
  [[nodiscard]] Result<ShownRun> Read(const std::string& id) const;
};

}  // namespace serve
