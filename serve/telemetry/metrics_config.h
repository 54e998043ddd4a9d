#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// One of TorchServe's metrics, as metrics.yaml lists it.
struct TorchServeMetric {
  enum class Type : std::uint8_t { kCounter, kGauge };
  std::string name;
  std::string unit;
  Type type = Type::kCounter;
  std::vector<std::string> dimensions;  // names of the labels, in TorchServe's order; the last is the host's
  bool of_model = false;                // TorchServe's workers report it: its lines go to model_metrics.log
};

struct MetricsConfig {
  std::vector<TorchServeMetric> metrics;
  std::vector<std::string> warnings;  // entries that are not used, and why
};

/// The metrics that TorchServe's own metrics.yaml lists, but for the GPU's.
const std::vector<TorchServeMetric>& DefaultTorchServeMetrics();

/// Reads the text of a metrics.yaml: which of those metrics are exported, with which unit, type (counter or
/// gauge) and names of dimensions. Custom metrics of Python handlers, histograms and GPU metrics become
/// warnings, as does an entry with another number of dimensions than its metric has.
///
/// Errors: kInvalidArgument: no YAML, another structure, or an entry without a name or a unit.
Result<MetricsConfig> ParseMetricsConfig(std::string_view text);

}  // namespace serve
