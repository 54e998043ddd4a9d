#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/telemetry/metrics_config.h"
#include "serve/telemetry/system_stats.h"

namespace serve {

struct ModelMetrics;

/// What TorchServe's metrics are made of.
struct MetricInputs {
  std::vector<std::shared_ptr<ModelMetrics>> models;
  std::array<double, 6> http{};  // answered requests by the first digit of the status
  std::string host;
};

/// One value with its labels; `metric` lives as long as the list that it came from.
struct MetricSeries {
  const TorchServeMetric* metric = nullptr;
  std::vector<std::string> labels;  // values, in the order of metric->dimensions
  double value = 0;
};

/// TorchServe's metrics: counters are read when they are asked for, gauges at each Sample().
///
/// Gauges of times are means over what happened since the last Sample(), where TorchServe shows the last
/// request's: no store into a shared cache line for each request.
///
/// Threads: every method from any thread.
/// Source:  TorchServe's metrics documentation; names, units and labels are those of its metrics.yaml.
class TorchServeMetrics {
 public:
  /// `system`: also CPU, memory and disk of the machine.
  explicit TorchServeMetrics(std::vector<TorchServeMetric> metrics, bool system = true)
      : metrics_(std::move(metrics)), system_(system) {}

  [[nodiscard]] const std::vector<TorchServeMetric>& metrics() const { return metrics_; }
  /// Takes the gauges anew.
  void Sample(const MetricInputs& inputs);
  [[nodiscard]] std::vector<MetricSeries> Read(const MetricInputs& inputs) const;
  /// Lines of ts_metrics.log, or of model_metrics.log: what counters grew by since the last call, and gauges
  /// that were taken anew since. With newlines; empty when there is nothing to say.
  std::string Lines(const MetricInputs& inputs, bool of_model);

 private:
  struct Sums {
    double total = 0, queue = 0, inference = 0, handler = 0;
    std::uint64_t requests = 0, queued = 0, batches = 0;
  };
  /// Means in milliseconds.
  struct Times {
    double queue = 0, thread = 0, handler = 0, inference = 0;
  };

  [[nodiscard]] std::vector<MetricSeries> ReadLocked(const MetricInputs& inputs) const;

  const std::vector<TorchServeMetric> metrics_;
  const bool system_;
  mutable std::mutex mutex_;  // guards what follows
  SystemStatsReader system_reader_;
  SystemStats system_stats_;
  bool sampled_ = false;
  std::map<const ModelMetrics*, Sums> seen_;
  std::map<const ModelMetrics*, Times> times_;
  Times host_times_;
  bool host_times_known_ = false;
  std::map<std::string, double> logged_;  // counters, by name and labels
};

}  // namespace serve
