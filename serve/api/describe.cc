#include "serve/api/describe.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "serve/telemetry/process_stats.h"

namespace serve {
namespace {

using nlohmann::ordered_json;

/// ISO 8601 in UTC with milliseconds; the reference writes local time with a Z.
std::string IsoTime(std::chrono::system_clock::time_point time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(millis / 1000)),
                     millis % 1000);
}

ordered_json SpecsJson(const std::vector<TensorSpec>& specs) {
  ordered_json json = ordered_json::array();
  for (const TensorSpec& spec : specs) {
    json.push_back({{"name", spec.name}, {"dtype", DTypeName(spec.dtype)}, {"shape", spec.shape}});
  }
  return json;
}

ordered_json WorkersJson(const VersionStatus& status) {
  ordered_json workers = ordered_json::array();
  if (status.workers.empty()) return workers;
  // Workers are threads that share the weights: memory and pid are those of the process.
  const auto memory = static_cast<std::int64_t>(ReadProcessStats().resident_bytes);
  for (const WorkerStatus& worker : status.workers) {
    workers.push_back({{"id", std::to_string(worker.id)},
                       {"startTime", IsoTime(worker.started)},
                       {"status", worker.ready ? "READY" : "UNLOADING"},
                       {"memoryUsage", memory},
                       {"pid", getpid()},
                       {"gpu", false},
                       {"gpuUsage", "N/A"}});
  }
  return workers;
}

}  // namespace

ordered_json DescribeVersion(const ModelVersion& version, bool is_default, bool customized) {
  const VersionInfo& info = version.info();
  const VersionOptions& options = version.options();
  const SequenceOptions& sequences = options.sequences;
  const VersionStatus status = version.Read();
  const auto seconds = [](std::chrono::milliseconds time) { return time.count() / 1000; };
  ordered_json json = {
      {"modelName", info.name},
      {"modelVersion", info.version},
      {"modelUrl", info.url},
      {"runtime", info.runtime},
      {"minWorkers", status.min_workers},
      {"maxWorkers", status.max_workers},
      {"batchSize", options.scheduler.batch_size},
      {"maxBatchDelay", options.scheduler.max_batch_delay.count()},
      {"responseTimeout", seconds(options.response_timeout)},
      {"startupTimeout", seconds(options.startup_timeout)},
      {"maxRetryTimeoutInSec", 300},
      {"clientTimeoutInMills", options.client_timeout.count()},
      {"parallelType", ""},
      {"parallelLevel", 0},
      {"deviceType", "cpu"},
      {"continuousBatching", version.handler().Generates()},
      {"useJobTicket", false},
      {"useVenv", false},
      {"stateful", sequences.enabled},
      {"sequenceMaxIdleMSec", sequences.enabled ? sequences.max_idle.count() : 0},
      {"sequenceTimeoutMSec", sequences.timeout.count()},
      {"maxNumSequence", sequences.enabled ? sequences.max_sequences : 0},
      {"maxSequenceJobQueueSize", sequences.enabled ? sequences.max_queued : 0},
      {"loadedAtStartup", info.loaded_at_startup},
      {"workers", WorkersJson(status)},
      {"jobQueueStatus",
       {{"remainingCapacity", status.queue_capacity - std::min(status.pending, status.queue_capacity)},
        {"pendingRequests", status.pending}}},
  };
  if (customized) {
    json["customizedMetadata"] = info.extensions.is_object() ? info.extensions : ordered_json::object();
  }
  json["defaultVersion"] = is_default;
  json["handler"] = info.handler;
  json["inputs"] = SpecsJson(info.inputs);
  json["outputs"] = SpecsJson(info.outputs);
  json["checkedWith"] = info.checked_with;
  json["loadTimeMs"] = version.load_time().count();
  if (sequences.enabled) json["openSequences"] = version.OpenSequences();
  if (status.max_workers > status.min_workers) {
    const auto [changes, last] = version.autoscaled();
    const auto queue_time = std::chrono::duration_cast<std::chrono::milliseconds>(version.QueueTime());
    ordered_json& scaling = json["autoscaling"] = {
        {"workers", version.RunningWorkers()}, {"queueTimeMs", queue_time.count()}, {"changes", changes}};
    if (changes > 0) scaling["lastChange"] = last;
  }
  if (ordered_json tuning = version.tuning(); !tuning.is_null()) json["tuning"] = std::move(tuning);
  if (!info.origin.is_null()) json["source"] = info.origin;
  if (!info.lineage.is_null()) json["lineage"] = info.lineage;
  return json;
}

}  // namespace serve
