#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/model/options.h"

namespace serve {

/// What was read, and what could not be used: one warning for each key, naming it.
struct ReadConfig {
  ModelConfig config;
  std::map<std::string, std::string, std::less<>> handler_options;  // of the key `handler`
  std::vector<std::string> warnings;
};

/// Reads an archive's model-config.yaml: TorchServe's keys of the frontend, and options of the handler under
/// `handler`. Other keys are for Python handlers.
///
/// A value of a wrong type is a warning, and its key is ignored; so is a key that asks for what this version
/// does not do (parallelType, useVenv, …). Errors: kInvalidArgument for a text that is no YAML map, above
/// 1 MiB or nested too deep, kNotFound. Source: TorchServe's model-config.yaml.
Result<ReadConfig> ParseModelConfig(std::string_view yaml);
Result<ReadConfig> ReadModelConfig(const std::filesystem::path& file);

}  // namespace serve
