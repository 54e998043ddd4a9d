#pragma once

#include <filesystem>
#include <string>

#include "handlers/text/text_features.h"
#include "serve/base/status.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

/// Writes the model as a TorchScript file, made in C++: forward(ids, offsets, weights) → probabilities, as
/// text_classifier calls it. Errors: kInternal with libtorch's reason.
Status ExportTorchScript(const LinearTextModel& model, const std::filesystem::path& file);

/// Loads the file again, runs it on `bags`, and answers with the largest difference between its probabilities
/// and the model's own. Errors: kInternal (it does not load or run, or answers in another shape).
Result<double> CompareExported(const std::filesystem::path& file, const LinearTextModel& model,
                               const TextBags& bags);

/// Version of the libtorch that is linked, e.g. "2.13.0".
std::string TorchVersion();

}  // namespace serve::trainer
