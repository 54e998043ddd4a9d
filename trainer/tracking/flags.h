#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "trainer/tracking/tracking.h"

namespace serve::trainer {

/// Adds --tracking-uri, --experiment, --register-model … to a recipe's command. `experiment` is the default
/// name.
void AddTrackingFlags(CLI::App& command, TrackingOptions& options, const std::string& experiment);

}  // namespace serve::trainer
