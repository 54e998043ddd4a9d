#pragma once

#include <CLI/CLI.hpp>

#include "tools/cli/api_client.h"

namespace serve {

/// Adds `models list|describe|register|scale|set-default|unregister`. A chosen command runs while `app`
/// parses and leaves its exit code in `exit_code`. The references outlive the parse.
void AddModelsCommands(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `workflows list|describe|register|remove`, likewise.
void AddWorkflowsCommands(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `traffic show|split|shadow|alias|promote|rollback|clear`, likewise.
void AddTrafficCommands(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `predict MODEL[:VERSION]`, likewise.
void AddPredictCommand(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `ping [URL]`, likewise.
void AddPingCommand(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `status`, likewise.
void AddStatusCommand(CLI::App& app, const ApiClient& client, int& exit_code);
/// Adds `completion SHELL` and `man [COMMAND]`, which tell of everything that `app` has when they run.
void AddShellCommands(CLI::App& app, const ApiClient& client, int& exit_code);

}  // namespace serve
