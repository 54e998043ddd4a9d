#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"

namespace serve {

/// What `flambeau archive create` and `torch-model-archiver` read in the same way.

/// The values of --archive-format, and what each means; `name` is one of them.
const std::vector<std::string>& FormatNames();
ArchiveFormat FormatOf(const std::string& name);

/// The options that name files, as they were typed.
struct CreateFiles {
  std::string serialized_file, model_file, requirements_file, config_file, export_path = ".",
                                                                           format = "default";
};
void TakeFiles(const CreateFiles& typed, CreateOptions& options);

/// Comma lists whose items may hold wildcards. Errors: kNotFound when a wildcard matches nothing.
Status ReadExtraFiles(const std::vector<std::string>& lists, std::vector<std::filesystem::path>& files);

}  // namespace serve
