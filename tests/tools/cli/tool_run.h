#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "tools/cli/commands.h"

namespace serve {

/// What one run of a tool left behind.
struct ToolRun {
  int code = 0;
  std::string out;
  std::string err;
};

inline ToolRun Tool(const std::vector<std::string>& args, const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  ToolRun run;
  run.code = RunTool(args, {in, out, err});
  run.out = out.str();
  run.err = err.str();
  return run;
}

}  // namespace serve
