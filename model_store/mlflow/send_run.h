#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "model_store/mlflow/client.h"
#include "model_store/mlflow/run_record.h"
#include "serve/base/status.h"

namespace serve {

inline constexpr std::string_view kRunIdTag = "flambeau.run_id";  // on runs: RunRecord::id
inline constexpr std::string_view kTrainedTag =
    "flambeau.trained_ms";                                    // on versions: when the training ended
inline constexpr std::string_view kModelArtifacts = "model";  // the artifact folder that holds the archive

/// Sends a run of the folder to the server: experiment, run, parameters, metrics, tags, datasets, artifacts,
/// state, and what is to be registered. Goes on where an earlier try ended, and makes neither the run nor the
/// version twice: the server's run carries the id as a tag, the version the run.
///
/// An alias is moved only when the version that has it was trained before this one: a run that is sent late
/// does not push a newer model aside. `note` is told such things. Errors: those of the client; after one, the
/// folder knows how far it came. kConflict: another process trains or sends this run. Threads: any.
Status SendRun(const MlflowClient& client, const RunFolder& folder, const std::string& id,
               const std::function<void(const std::string&)>& note);
/// The same by somebody who has the lock, with the record in memory, which is kept up to date.
Status SendLockedRun(const MlflowClient& client, const RunFolder& folder, RunRecord& record,
                     const std::function<void(const std::string&)>& note);

}  // namespace serve
