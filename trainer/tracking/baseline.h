#pragma once

#include <nlohmann/json.hpp>

namespace serve::trainer {

/// Completes a lineage by what a recipe does not know: `code` (git commit of this program, whether its
/// sources were changed) and `environment` (compiler, CPU, instruction sets, number of CPUs). With the data,
/// the hyper-parameters and the metrics that a recipe writes this is the baseline of a model: `flambeau
/// baseline` reads it. Keys that are there already stay.
void AddBaseline(nlohmann::ordered_json& lineage);

/// Git commit that the program was built from; empty where it was not built in a git checkout.
const char* BuildCommit();
/// Whether files of that commit were changed.
bool BuildIsDirty();

}  // namespace serve::trainer
