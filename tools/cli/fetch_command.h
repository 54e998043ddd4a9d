#pragma once

#include <iosfwd>

#include <CLI/CLI.hpp>

namespace serve {

/// Adds `fetch URI`: fetches a model as the server would, and says what it is. A chosen command runs while
/// `app` parses; it writes to `out` and `err` and leaves its exit code (0, 1) in `exit_code`. The references
/// outlive the parse.
void AddFetchCommand(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code);

}  // namespace serve
