#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace serve {

/// The command line of `torch-model-archiver`: the same flags, archives and texts. Says on `err` what of an
/// archive Flambeau will not serve: Python code is packed, and never run.
///
/// Exit codes: 0 written (without a word), 1 with `ERROR - TEXT` on `err`, 2 for wrong usage.
int RunModelArchiver(const std::vector<std::string>& args, std::ostream& out, std::ostream& err);

}  // namespace serve
