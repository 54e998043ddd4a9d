#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "serve/config/config.h"

namespace serve {

/// `flambeau doctor [--json] SETTING…`: what `flambeau serve SETTING…` would find here. One line for each
/// finding: `ok|warn|FAIL  name  what was found → what to do`; with `json` one object. Changes nothing that
/// lasts.
///
/// `args`: the words after `doctor`; settings are read from them, from `environment` and from the
/// configuration file as `serve` does. `library`: the file name of the runtime library, looked for where the
/// server looks. Exit codes: 0 nothing is wrong (warnings are allowed), 1 something would keep the server
/// from working, 2 wrong usage. Threads: to be called while the process has no others; it forks.
int RunDoctor(const std::vector<std::string>& args, const Environment& environment,
              const std::string& library, std::ostream& out, std::ostream& err);

}  // namespace serve
