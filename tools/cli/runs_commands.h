#pragma once

#include <CLI/CLI.hpp>

#include "tools/cli/api_client.h"

namespace serve {

/// Adds `runs list|show|compare|sync`: trainings that flambeau-train wrote down, from its folder of runs or
/// from an MLflow server. A chosen command runs while `app` parses and leaves its exit code in `exit_code`.
/// The references outlive the parse.
void AddRunsCommands(CLI::App& app, const ApiClient& client, int& exit_code);

}  // namespace serve
