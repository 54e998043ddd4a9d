#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "serve/app/options.h"

namespace serve {

using Environment = std::map<std::string, std::string, std::less<>>;
/// The variables of this process.
Environment ProcessEnvironment();

/// A setting and where its value came from.
struct EffectiveValue {
  std::string key;
  std::string value;
  std::string source;  // `--batch-size`, `FLAMBEAU_BATCH_SIZE`, `config.properties:12`, `default`
};

struct ParsedConfig {
  enum class Action : std::uint8_t { kServe, kHelp, kVersion, kCheckConfig };

  Action action = Action::kServe;
  AppOptions options;               // complete only when there are no errors
  std::vector<std::string> errors;  // all that were found; each names source, key, value and what is allowed
  std::vector<std::string> warnings;
  /// Keys of the file that nobody knows, neither this server nor TorchServe. A start ignores them with a
  /// warning, as TorchServe does without one; --check-config refuses them.
  std::vector<std::string> unknown_keys;
  std::vector<std::string> notes;      // which file was read, …
  std::vector<EffectiveValue> values;  // every setting, in the order of --help
  bool usage_error = false;            // the command line itself is wrong: exit status 2, else 1
};

/// Makes the options of what follows `flambeau serve` on the command line, of the environment and of the
/// file.
///
/// Strength: flag, environment (FLAMBEAU_<KEY> before TS_<KEY>), file, default. PORT moves the inference
/// listener
///           unless its flag is given.
/// File:     --config or --ts-config, FLAMBEAU_CONFIG_FILE, TS_CONFIG_FILE, ./config.properties when it
/// exists.
///           `$$NAME$$` in a value is the environment variable NAME. Syntax: properties.h.
/// Errors:   are collected, none is thrown; nothing is logged or printed here.
/// Source:   TorchServe's config.properties and command line.
ParsedConfig ParseConfig(const std::vector<std::string>& args, const Environment& environment,
                         const std::string& working_folder = ".");

/// What `flambeau serve --help` prints: every setting with flag, environment variable, default and meaning.
std::string HelpText();

/// What `flambeau serve --check-config` prints: the findings, then every value with where it came from.
std::string CheckReport(const ParsedConfig& config);
/// Its exit code: 0, 1 for errors and unknown keys, 2 for a command line that is wrong itself.
int CheckExitCode(const ParsedConfig& config);

}  // namespace serve
