#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/base/status.h"

namespace serve {

/// The command line of flambeau-train that trains again what a lineage describes: every hyper-parameter that
/// it records, `max_iterations` as --epochs, others by their own names. Errors: kInvalidArgument when the
/// lineage is not flambeau-train's, or a label holds a comma.
Result<std::vector<std::string>> RetrainArguments(const nlohmann::ordered_json& lineage,
                                                  const std::vector<std::string>& labels,
                                                  const std::filesystem::path& data,
                                                  const std::filesystem::path& validation);

/// Runs `program` with the arguments, packs into a folder of its own, and answers with the lineage of what
/// came out, in `lineage`. Errors: kNotFound (the program), kInvalidArgument with what it said.
Status Retrain(const std::string& program, std::vector<std::string> arguments,
               const std::filesystem::path& work, nlohmann::ordered_json& lineage);

/// `flambeau-train` beside this program, else the one on the PATH.
std::string TrainerProgram();

}  // namespace serve
