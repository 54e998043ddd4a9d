#pragma once

#include <cstdint>
#include <string>

#include "serve/model/traffic_plan.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// What a version did in some time.
struct TrafficCounts {
  std::uint64_t answered = 0;   // errors among them
  std::uint64_t errors = 0;     // the model failed, or there was no room, no worker, no time
  Histogram::Snapshot latency;  // seconds from the arrival to the answer
};
TrafficCounts CountsOf(const ModelMetrics& metrics);
/// What came since `before`.
TrafficCounts Since(const TrafficCounts& now, const TrafficCounts& before);
/// Seconds below which `part` of the answers took, between the bounds of a bucket by proportion; 0 of none.
double Quantile(const Histogram::Snapshot& latency, double part);

struct Verdict {
  enum class What : std::uint8_t { kWait, kPromote, kRollBack };
  What what = What::kWait;
  std::string why;  // the numbers, for people
};

/// One of two versions: the one that is tried out, or the default one.
struct Contestant {
  std::string version;
  TrafficCounts counts;  // since the rule began
};

/// Decides about `candidate` once it answered `rule.requests`:
///   its share of errors may be larger than that of `stable` by max_error_increase, and
///   its p99 may be max_p99_ratio times that of `stable` plus p99_slack_ms.
/// Promoted when both hold, rolled back otherwise; rolled back earlier when its errors are too many whatever
/// follows. `stable` must have answered kFewestStable too.
Verdict Judge(const TrafficRule& rule, const Contestant& candidate, const Contestant& stable,
              std::chrono::seconds running);

inline constexpr std::uint64_t kFewestStable = 20;

}  // namespace serve
