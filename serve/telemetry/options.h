#pragma once

#include <cstdint>

namespace serve {

/// Which requests are recorded as spans. The names are OpenTelemetry's (OTEL_TRACES_SAMPLER).
enum class TraceSampler : std::uint8_t {
  kAlwaysOn,
  kAlwaysOff,
  kRatio,
  kParentAlwaysOn,  // as the caller says; without a caller always
  kParentAlwaysOff,
  kParentRatio,
};

struct TraceSampling {
  TraceSampler sampler = TraceSampler::kParentAlwaysOn;
  double ratio = 1;  // from 0 to 1, of the samplers that have one
};

}  // namespace serve
