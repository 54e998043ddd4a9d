#pragma once

#include <string_view>

#include "serve/base/status.h"
#include "serve/model/options.h"

namespace serve {

/// Reads the setting `models`: {"<name>": {"<version>": {"minWorkers", "maxWorkers", "batchSize",
/// "maxBatchDelay", "responseTimeout", "startupTimeout", "defaultVersion", …}}}.
///
/// Numbers of 0 and below mean "not given", as in TorchServe; other keys are ignored. Errors:
/// kInvalidArgument, naming what is no JSON or of another type.
Result<ModelConfigs> ParseModelsSetting(std::string_view json);

}  // namespace serve
