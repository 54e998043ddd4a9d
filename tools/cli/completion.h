#pragma once

#include <string>

#include "tools/cli/command_tree.h"

namespace serve {

// Scripts that complete the command line in a shell. Each knows commands, options and the values of options
// that have a fixed list; where a model is wanted, the running server is asked for names (a second at most).

std::string BashCompletion(const CommandInfo& root);
std::string ZshCompletion(const CommandInfo& root);
std::string FishCompletion(const CommandInfo& root);

}  // namespace serve
