#include "serve/telemetry/metric_job.h"

#include "serve/base/log.h"

namespace serve {

MetricJob::MetricJob(Metrics& metrics, std::chrono::seconds interval, bool log)
    : metrics_(metrics),
      interval_(interval),
      log_(log),
      thread_([this](std::stop_token stop) { Run(stop); }) {}

MetricJob::~MetricJob() {
  thread_.request_stop();
  thread_.join();
}

void MetricJob::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    Tick();
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, interval_, [] { return false; });
  }
  Tick();
}

void MetricJob::Tick() {
  metrics_.Sample();
  if (!log_) return;
  LogFileLines(LogFile::kTsMetrics, metrics_.LogLines(false));
  LogFileLines(LogFile::kModelMetrics, metrics_.LogLines(true));
}

}  // namespace serve
