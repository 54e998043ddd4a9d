#pragma once

#include <string>

#include "tools/cli/command_tree.h"

namespace serve {

/// The manual page, in man(7) macros, of the program (`command` is `root`) or of one of its commands with all
/// commands below it. Options, arguments and variables come from the tree, examples and exit codes from the
/// help texts. The date is SOURCE_DATE_EPOCH's, else today's.
std::string ManPage(const CommandInfo& root, const CommandInfo& command);

}  // namespace serve
