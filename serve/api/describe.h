#pragma once

#include <nlohmann/json.hpp>

#include "serve/model/model_version.h"

namespace serve {

/// What `GET /models/{model}` says of one version: TorchServe's fields in its order, then ours.
/// `customized`: with `customizedMetadata`, which is what the archive's manifest has under `extensions`.
nlohmann::ordered_json DescribeVersion(const ModelVersion& version, bool is_default, bool customized);

}  // namespace serve
