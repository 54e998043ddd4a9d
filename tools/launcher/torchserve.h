#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/cli/commands.h"

namespace serve {

/// `flambeau serve ARGS…`: runs until the server ends and gives its exit code. Calls `listening` once all
/// listeners are open. The main program brings it, so that the tools need no server.
using ServeFunction =
    std::function<int(const std::vector<std::string>& args, const std::function<void()>& listening)>;

/// The command line of TorchServe's launcher (`torchserve --start …`, `--stop`, `--version`): finds the
/// server by its pid file and starts it with the same settings.
///
/// Start:  in a process of its own; returns 0 when it listens, else with the exit code of the server, whose
///         error stands on standard error. With --foreground the calling process becomes the server.
/// Stop:   SIGTERM to the process of the pid file; returns when it has ended, after 60 s at the latest.
/// Errors: 1 with TorchServe's texts, 2 for wrong usage.
/// Threads: none may run when it is called: it forks.
int RunTorchserve(const std::vector<std::string>& args, const ToolStreams& streams,
                  const ServeFunction& serve);

}  // namespace serve
