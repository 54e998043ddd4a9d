#pragma once

#include <iosfwd>

#include <CLI/CLI.hpp>

namespace serve {

/// Adds `archive create|inspect|verify|extract` to `app`. A chosen command runs while `app` parses; it writes
/// to `out` and `err` and leaves its exit code (0, 1) in `exit_code`. The references outlive the parse.
void AddArchiveCommands(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code);

/// Adds `workflow-archive`, likewise.
void AddWorkflowArchiveCommand(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code);

}  // namespace serve
