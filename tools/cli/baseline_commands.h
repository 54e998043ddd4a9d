#pragma once

#include <CLI/CLI.hpp>

#include "tools/cli/api_client.h"

namespace serve {

/// Adds `baseline show|diff|verify`: what an archive was made from, as its manifest's lineage says. A chosen
/// command runs while `app` parses and leaves its exit code in `exit_code`. The references outlive the parse.
void AddBaselineCommands(CLI::App& app, const ApiClient& client, int& exit_code);

}  // namespace serve
