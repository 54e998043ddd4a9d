#include "serve/api/traffic_rule.h"

#include <algorithm>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr double kP99 = 0.99;

double ErrorRate(const TrafficCounts& counts) {
  return counts.answered == 0 ? 0 : static_cast<double>(counts.errors) / static_cast<double>(counts.answered);
}

std::string Numbers(const Contestant& one) {
  return fmt::format("{}: {} requests, {} errors ({:.2f} %), p99 {:.2f} ms", one.version, one.counts.answered,
                     one.counts.errors, 100 * ErrorRate(one.counts),
                     1000 * Quantile(one.counts.latency, kP99));
}

}  // namespace

TrafficCounts CountsOf(const ModelMetrics& metrics) {
  TrafficCounts counts;
  counts.errors = metrics.failed.Value();
  for (const RejectReason reason :
       {RejectReason::kQueueFull, RejectReason::kNoWorker, RejectReason::kDeadline})
    counts.errors += metrics.rejected[static_cast<std::size_t>(reason)].Value();
  counts.answered = metrics.succeeded.Value() + counts.errors;
  counts.latency = metrics.total.Read();
  return counts;
}

TrafficCounts Since(const TrafficCounts& now, const TrafficCounts& before) {
  TrafficCounts since = now;
  const auto less = [](std::uint64_t& value, std::uint64_t by) { value -= std::min(value, by); };
  less(since.answered, before.answered);
  less(since.errors, before.errors);
  less(since.latency.count, before.latency.count);
  const std::size_t buckets = std::min(since.latency.counts.size(), before.latency.counts.size());
  for (std::size_t i = 0; i < buckets; ++i) less(since.latency.counts[i], before.latency.counts[i]);
  return since;
}

double Quantile(const Histogram::Snapshot& latency, double part) {
  const double wanted = part * static_cast<double>(latency.count);
  double below = 0;
  for (std::size_t i = 0; i < latency.bounds.size(); ++i) {
    const auto inside = static_cast<double>(latency.counts[i]);
    if (inside > 0 && below + inside >= wanted) {
      const double low = i == 0 ? 0 : latency.bounds[i - 1];
      return low + (latency.bounds[i] - low) * (wanted - below) / inside;
    }
    below += inside;
  }
  return latency.count == 0 || latency.bounds.empty() ? 0 : latency.bounds.back();
}

Verdict Judge(const TrafficRule& rule, const Contestant& candidate, const Contestant& stable,
              std::chrono::seconds running) {
  const TrafficCounts& tried = candidate.counts;
  const std::string numbers = Numbers(candidate) + "; " + Numbers(stable);
  const double allowed_rate = ErrorRate(stable.counts) + rule.max_error_increase;
  // Whatever follows, the rate at the end will be larger than this.
  const double least_rate =
      static_cast<double>(tried.errors) / static_cast<double>(std::max(rule.requests, tried.answered));
  if (least_rate > allowed_rate && stable.counts.answered >= kFewestStable) {
    return {Verdict::What::kRollBack,
            fmt::format("too many errors, at most {:.2f} % are allowed ({})", 100 * allowed_rate, numbers)};
  }
  if (tried.answered < rule.requests) {
    return {Verdict::What::kWait, fmt::format("{} answered {} of {} requests ({})", candidate.version,
                                              tried.answered, rule.requests, numbers)};
  }
  if (stable.counts.answered < kFewestStable) {
    return {Verdict::What::kWait, fmt::format("{} must answer {} requests to compare with ({})",
                                              stable.version, kFewestStable, numbers)};
  }
  if (running < rule.min_time) {
    return {Verdict::What::kWait,
            fmt::format("{} of {} s are over ({})", running.count(), rule.min_time.count(), numbers)};
  }
  const double p99 = Quantile(tried.latency, kP99);
  const double allowed_p99 =
      rule.max_p99_ratio * Quantile(stable.counts.latency, kP99) + rule.p99_slack_ms / 1000;
  if (p99 > allowed_p99) {
    return {Verdict::What::kRollBack,
            fmt::format("too slow, a p99 of {:.2f} ms is allowed ({})", 1000 * allowed_p99, numbers)};
  }
  return {Verdict::What::kPromote,
          fmt::format("no worse: errors up to {:.2f} % and a p99 of {:.2f} ms are allowed ({})",
                      100 * allowed_rate, 1000 * allowed_p99, numbers)};
}

}  // namespace serve
