#include "bench/load/report.h"

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace serve {

namespace {

constexpr std::pair<const char*, double> kPercentiles[] = {
    {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}};

double Rounded(double value) { return std::round(value * 100) / 100; }
double Microseconds(double nanoseconds) { return Rounded(nanoseconds / 1000); }

nlohmann::ordered_json Latency(const LatencyHistogram& histogram) {
  nlohmann::ordered_json json{{"count", histogram.count()}, {"mean", Microseconds(histogram.Mean())}};
  for (const auto& [name, share] : kPercentiles) {
    json[name] = Microseconds(static_cast<double>(histogram.Percentile(share)));
  }
  json["max"] = Microseconds(static_cast<double>(histogram.max()));
  return json;
}

double PerSecond(std::uint64_t count, const LoadResult& result) {
  return count == 0 ? 0 : static_cast<double>(count) / result.Seconds();
}

std::string LatencyText(const char* name, const LatencyHistogram& histogram) {
  if (histogram.count() == 0) return "";
  std::string text = fmt::format("{:<10} {:>10}", name, histogram.count());
  for (const auto& [label, share] : kPercentiles) {
    text += fmt::format("  {} {:.0f}", label, static_cast<double>(histogram.Percentile(share)) / 1000);
  }
  return text + fmt::format("  max {:.0f} µs\n", static_cast<double>(histogram.max()) / 1000);
}

}  // namespace

std::string ReportJson(const LoadOptions& options, const LoadResult& result) {
  nlohmann::ordered_json statuses = nlohmann::ordered_json::object();
  for (const auto& [status, count] : result.statuses) statuses[std::to_string(status)] = count;
  const nlohmann::ordered_json json{
      {"loop", options.rate > 0 ? "open" : "closed"},
      {"target_rate", options.rate},
      {"connections", options.connections},
      {"threads", options.threads},
      {"window_s", result.Seconds()},
      {"requests", result.in_window},
      {"rate", Rounded(PerSecond(result.in_window, result))},
      {"ok_rate", Rounded(PerSecond(result.ok_in_window, result))},
      {"statuses", statuses},
      {"errors",
       {{"connect", result.connect_errors},
        {"closed", result.closed_errors},
        {"malformed", result.malformed},
        {"timeout", result.timeouts}}},
      {"unsent", result.unsent},
      {"reconnects", result.reconnects},
      {"latency_us", Latency(result.ok)},
      {"refused_latency_us", Latency(result.refused)},
      {"other_latency_us", Latency(result.other)},
      {"retry_after",
       {{"count", result.retry_after}, {"min_s", result.retry_after_min}, {"max_s", result.retry_after_max}}},
      {"bytes_read", result.bytes_read},
      {"bytes_written", result.bytes_written},
      {"client_cpu", Rounded(result.client_cpu)},
  };
  return json.dump(2) + "\n";
}

std::string ReportText(const LoadOptions& options, const LoadResult& result) {
  std::string text = fmt::format("{} loop, {} connections, {:.2f} s: {:.1f} answers/s, {:.1f} of them 2xx\n",
                                 options.rate > 0 ? "open" : "closed", options.connections, result.Seconds(),
                                 PerSecond(result.in_window, result), PerSecond(result.ok_in_window, result));
  text +=
      LatencyText("2xx", result.ok) + LatencyText("503", result.refused) + LatencyText("other", result.other);
  text += "status    ";
  for (const auto& [status, count] : result.statuses) text += fmt::format(" {}: {}", status, count);
  text +=
      fmt::format("\nerrors     connect {}, closed {}, malformed {}, timeout {}; unsent {}, reconnects {}\n",
                  result.connect_errors, result.closed_errors, result.malformed, result.timeouts,
                  result.unsent, result.reconnects);
  if (result.retry_after > 0) {
    text += fmt::format("Retry-After on {} of {} refusals, {}..{} s\n", result.retry_after,
                        result.refused.count(), result.retry_after_min, result.retry_after_max);
  }
  return text + fmt::format("client     {:.2f} CPUs, {} bytes read, {} written\n", result.client_cpu,
                            result.bytes_read, result.bytes_written);
}

}  // namespace serve
