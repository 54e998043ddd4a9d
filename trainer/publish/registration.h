#pragma once

#include <filesystem>
#include <string>

#include "serve/base/status.h"

namespace serve::trainer {

struct Registration {
  std::string management;  // URL of the management API
  std::string name;
  std::string version;
  std::filesystem::path archive;  // in the model store of that server
  int workers = 1;
  bool set_default = false;
};

/// Asks a running server to load the archive, and waits until it is ready. Answers with what the server said.
/// Errors: those of CallHttp; kInvalidArgument when the server refused, with its own reason.
Result<std::string> RegisterModel(const Registration& registration);

/// The command that does the same later.
std::string RegisterCommand(const Registration& registration);

}  // namespace serve::trainer
