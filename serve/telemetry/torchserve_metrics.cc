#include "serve/telemetry/torchserve_metrics.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <iterator>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "serve/telemetry/metrics.h"

namespace serve {
namespace {

constexpr double kMilliseconds = 1000;

double Mean(double sum, std::uint64_t count) { return count == 0 ? 0 : sum / static_cast<double>(count); }

bool IsOfMachine(std::string_view name) {
  return name.starts_with("CPU") || name.starts_with("Memory") || name.starts_with("Disk");
}

/// Three digits after the point are enough; at least one is there, as Java writes a double.
std::string Number(double value) {
  value = std::round(value * 1000) / 1000;
  if (std::floor(value) == value && std::abs(value) < 1e7) return fmt::format("{:.1f}", value);
  return fmt::format("{}", value);
}

/// `2024-05-30T21:46:03,626` in local time.
std::string Stamp(std::chrono::system_clock::time_point time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = millis / 1000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%FT%T", &parts);
  return fmt::format("{},{:03}", text, millis % 1000);
}

}  // namespace

void TorchServeMetrics::Sample(const MetricInputs& inputs) {
  const std::lock_guard lock(mutex_);
  if (system_) system_stats_ = system_reader_.Read();
  sampled_ = true;
  std::map<const ModelMetrics*, Sums> now;
  std::map<const ModelMetrics*, Times> times;
  Sums grown;  // of all models
  for (const auto& model : inputs.models) {
    const Histogram::Snapshot total = model->total.Read();
    const Histogram::Snapshot queue = model->queue.Read();
    const Histogram::Snapshot inference = model->inference.Read();
    Sums sums;
    sums.total = total.sum;
    sums.queue = queue.sum;
    sums.inference = inference.sum;
    sums.handler = model->prepare.Read().sum + inference.sum + model->render.Read().sum;
    sums.requests = total.count;
    sums.queued = queue.count;
    sums.batches = inference.count;
    Sums before = seen_[model.get()];
    if (before.requests > sums.requests || before.batches > sums.batches) before = {};  // another model's
    Sums step = sums;
    step.total -= before.total;
    step.queue -= before.queue;
    step.inference -= before.inference;
    step.handler -= before.handler;
    step.requests -= before.requests;
    step.queued -= before.queued;
    step.batches -= before.batches;
    now[model.get()] = sums;
    if (step.batches > 0) {
      Times& mine = times[model.get()];
      mine.handler = Mean(step.handler, step.batches) * kMilliseconds;
      mine.inference = Mean(step.inference, step.batches) * kMilliseconds;
    } else if (const auto last = times_.find(model.get()); last != times_.end()) {
      times[model.get()] = last->second;
    }
    grown.total += step.total;
    grown.queue += step.queue;
    grown.inference += step.inference;
    grown.requests += step.requests;
    grown.queued += step.queued;
    grown.batches += step.batches;
  }
  if (grown.requests > 0) {
    host_times_known_ = true;
    const double queue = Mean(grown.queue, grown.queued);
    host_times_.queue = queue * kMilliseconds;
    const double outside = Mean(grown.total, grown.requests) - queue - Mean(grown.inference, grown.batches);
    host_times_.thread = std::max(0.0, outside) * kMilliseconds;
  }
  seen_ = std::move(now);
  times_ = std::move(times);
}

std::vector<MetricSeries> TorchServeMetrics::Read(const MetricInputs& inputs) const {
  const std::lock_guard lock(mutex_);
  return ReadLocked(inputs);
}

std::vector<MetricSeries> TorchServeMetrics::ReadLocked(const MetricInputs& inputs) const {
  std::vector<MetricSeries> out;
  const auto host_value = [&](const TorchServeMetric& metric, double value, bool known = true) {
    if (known) out.push_back({&metric, {"Host", inputs.host}, value});
  };
  const auto counter = [&](const TorchServeMetric& metric, const Counter ModelMetrics::*member, double unit) {
    for (const auto& model : inputs.models) {
      out.push_back({&metric,
                     {model->model_name, model->model_version, inputs.host},
                     static_cast<double>(((*model).*member).Value()) / unit});
    }
  };
  const auto model_time = [&](const TorchServeMetric& metric, double Times::*member) {
    for (const auto& model : inputs.models) {
      const auto found = times_.find(model.get());
      if (found == times_.end()) continue;
      out.push_back({&metric, {model->model_name, "Model", inputs.host}, found->second.*member});
    }
  };
  const auto load_time = [&](const TorchServeMetric& metric) {
    for (const auto& model : inputs.models) {
      const Histogram::Snapshot load = model->load.Read();
      if (load.count == 0) continue;
      out.push_back(
          {&metric,
           {fmt::format("W-9000-{}_{}", model->model_name, model->model_version), "Host", inputs.host},
           Mean(load.sum, load.count) * kMilliseconds});
    }
  };
  const bool system = system_ && sampled_;
  const SystemStats& stats = system_stats_;
  for (const TorchServeMetric& metric : metrics_) {
    const std::string& name = metric.name;
    if (name == "Requests2XX") host_value(metric, inputs.http[2]);
    if (name == "Requests4XX") host_value(metric, inputs.http[4]);
    if (name == "Requests5XX") host_value(metric, inputs.http[5]);
    if (name == "ts_inference_requests_total") counter(metric, &ModelMetrics::requests, 1);
    if (name == "ts_inference_latency_microseconds") counter(metric, &ModelMetrics::latency_nanos, 1e3);
    if (name == "ts_queue_latency_microseconds") counter(metric, &ModelMetrics::queue_nanos, 1e3);
    if (name == "QueueTime") host_value(metric, host_times_.queue, host_times_known_);
    if (name == "WorkerThreadTime") host_value(metric, host_times_.thread, host_times_known_);
    if (name == "WorkerLoadTime") load_time(metric);
    if (name == "HandlerTime") model_time(metric, &Times::handler);
    if (name == "PredictionTime") model_time(metric, &Times::inference);
    if (name == "CPUUtilization") host_value(metric, stats.cpu_percent, system);
    if (name == "MemoryUsed") host_value(metric, stats.memory_used_mb, system);
    if (name == "MemoryAvailable") host_value(metric, stats.memory_available_mb, system);
    if (name == "MemoryUtilization") host_value(metric, stats.memory_percent, system);
    if (name == "DiskUsage") host_value(metric, stats.disk_used_gb, system);
    if (name == "DiskUtilization") host_value(metric, stats.disk_percent, system);
    if (name == "DiskAvailable") host_value(metric, stats.disk_available_gb, system);
  }
  return out;
}

std::string TorchServeMetrics::Lines(const MetricInputs& inputs, bool of_model) {
  const auto time = std::chrono::system_clock::now();
  const std::string stamp = Stamp(time);
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const MetricSeries& series : ReadLocked(inputs)) {
    const TorchServeMetric& metric = *series.metric;
    if (metric.of_model != of_model) continue;
    std::string dimensions;  // the host has a place of its own
    for (std::size_t i = 0; i + 1 < series.labels.size(); ++i) {
      dimensions += fmt::format("{}{}:{}", i == 0 ? "" : ",", metric.dimensions[i], series.labels[i]);
    }
    double value = series.value;
    if (metric.type == TorchServeMetric::Type::kCounter) {
      double& logged = logged_[metric.name + dimensions];
      // A model that was removed and registered again counts from 0.
      const double grown = value < logged ? value : value - logged;
      logged = value;
      if (grown == 0) continue;
      value = grown;
    } else if (!IsOfMachine(metric.name)) {  // those are always news; the others only when something happened
      const auto [logged, first] = logged_.try_emplace(metric.name + dimensions, value);
      if (!first && std::exchange(logged->second, value) == value) continue;
    }
    fmt::format_to(std::back_inserter(out), "{} - {}.{}:{}|#{}|#hostname:{},timestamp:{}\n", stamp,
                   metric.name, metric.unit, Number(value), dimensions, inputs.host,
                   std::chrono::system_clock::to_time_t(time));
  }
  return out;
}

}  // namespace serve
