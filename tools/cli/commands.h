#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace serve {

/// Exit codes of every tool: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection to the server.
enum ToolExit : int { kToolDone = 0, kToolFailed = 1, kToolUsage = 2, kToolNoConnection = 3 };

/// Where a tool reads and writes; tests bring their own.
struct ToolStreams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

/// Runs every subcommand but `serve`: `models`, `predict`, `archive`; also --help (which lists `serve`) and
/// --version. `args` are the words after the program's name. Results go to `out`, one clear line per error to
/// `err`.
int RunTool(const std::vector<std::string>& args, const ToolStreams& streams);
/// The same on the process's own streams; the main program calls it when argv[1] is not `serve`.
int RunTool(int argc, char** argv);

}  // namespace serve
