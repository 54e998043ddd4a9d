#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/app/options.h"

namespace serve {

/// One row of the table of settings: the command line, the environment, config.properties, --help and
/// --check-config are all made of it.
struct Setting {
  std::string key;           // as in config.properties, e.g. `job_queue_size`
  std::string group;         // heading in --help
  std::string value;         // what the value is: `URL`, `N`, `MS`, `true|false`
  std::string default_text;  // empty: nothing is set
  std::string help;
  bool is_boolean = false;  // its flag may stand without a value
  bool is_secret = false;   // its value is never shown
  /// Sets it. Answers what is allowed when `text` is not, else an empty text.
  std::function<std::string(std::string_view text, AppOptions& options)> apply;
};

/// A key that TorchServe knows and this version does not use.
struct UnusedSetting {
  std::string_view key;
  std::string_view harmless;  // no warning for this value: it asks for what is the case anyway
  std::string_view reason;
  std::string_view environment = {};  // the name that TorchServe reads when it is not TS_<KEY>
};

const std::vector<Setting>& Settings();
const std::vector<UnusedSetting>& UnusedSettings();

const Setting* FindSetting(std::string_view key);
const UnusedSetting* FindUnusedSetting(std::string_view key);

/// `job_queue_size` → `--job-queue-size`, `FLAMBEAU_JOB_QUEUE_SIZE`.
std::string FlagOf(std::string_view key);
std::string EnvironmentName(std::string_view prefix, std::string_view key);

/// The known name that is nearest to what was typed; empty when none is near.
std::string_view Nearest(std::string_view typed, const std::vector<std::string>& known);

}  // namespace serve
