#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// Takes `--extra-files` apart: comma lists of files, wildcards and folders. Errors: kNotFound for a pattern
/// that matches nothing.
Status ReadExtraFiles(const std::vector<std::string>& typed, std::vector<std::filesystem::path>& files);

}  // namespace serve
