#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model_store/mlflow/client.h"
#include "model_store/sources/source.h"
#include "serve/base/status.h"

namespace serve {

/// Whether MLflow has to say what the URI means: models:, runs:, mlflow-artifacts:.
bool IsMlflowUri(std::string_view uri);

/// Follows a URI of MLflow to where its files lie: fills `resolved`, `version`, `run_id` and `artifact`
/// (mlflow-artifacts:, gs://, s3://, …) of `origin`. A version must be READY. Errors: kDownloadFailed,
/// kModelNotFound (a form that is none).
Status ResolveMlflowUri(const MlflowClient& client, SourceOrigin& origin);

/// What is to be fetched of a folder of artifacts.
struct ArtifactChoice {
  std::string file;  // below the folder; empty: all of it
  std::string name;  // what the file, or the folder, is called here
};
/// The only archive; an unpacked archive; the only TorchScript file. `model` names a file that has no name of
/// its own (MLflow calls every one data/model.pth). Errors: kInvalidArgument, saying what is there and what
/// is supported.
Result<ArtifactChoice> ChooseArtifact(const std::vector<MlflowArtifact>& files, const std::string& model);

/// How one artifact is fetched through the tracking server. `shown` stands in messages.
Result<DownloadPlan> ArtifactPlan(std::shared_ptr<const MlflowClient> client, const std::string& artifact,
                                  const std::string& shown);

}  // namespace serve
