#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "serve/telemetry/metrics.h"

namespace serve {

/// Takes the gauges of TorchServe's metrics at the start and then every `interval`, on a thread of its own;
/// with `log` it also hands their lines to ts_metrics.log and model_metrics.log, a last time at its end.
class MetricJob {
 public:
  MetricJob(Metrics& metrics, std::chrono::seconds interval, bool log);
  ~MetricJob();
  MetricJob(const MetricJob&) = delete;
  MetricJob& operator=(const MetricJob&) = delete;

 private:
  void Run(const std::stop_token& stop);
  void Tick();

  Metrics& metrics_;
  const std::chrono::seconds interval_;
  const bool log_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace serve
