#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "serve/runtime/runtime.h"
#include "serve/scheduler/options.h"

namespace serve {

enum class TuningMode : std::uint8_t {
  kOff,         // the module as it was saved
  kLoad,        // a version is ready once its fastest way to run was found
  kBackground,  // it answers as saved meanwhile
};

struct VersionOptions;

/// Sequences of requests that are answered in order, one at a time.
struct SequenceOptions {
  bool enabled = false;                        // TorchServe: sequenceBatching
  std::chrono::milliseconds max_idle{60'000};  // without a request, then it is over; sequenceMaxIdleMSec
  std::chrono::milliseconds timeout{0};        // of a whole sequence; 0: none; sequenceTimeoutMSec
  std::size_t max_sequences = 1;               // open at once; maxNumSequence
  std::size_t max_queued = 1;                  // that wait behind another of theirs; maxSequenceJobQueueSize
};

/// What an archive's model-config.yaml, or one entry of the `models` setting, says of a version. nullopt:
/// nothing.
struct ModelConfig {
  std::optional<int> min_workers;  // used as a pair with max_workers, when max >= min > 0
  std::optional<int> max_workers;
  std::optional<int> batch_size;
  std::optional<std::chrono::milliseconds> max_batch_delay;
  std::optional<std::chrono::milliseconds> response_timeout;
  std::optional<std::chrono::milliseconds> startup_timeout;
  std::optional<std::chrono::milliseconds> client_timeout;
  std::optional<int> job_queue_size;
  std::optional<SequenceOptions> sequences;
  bool default_version = false;  // of the `models` setting and of snapshots

  [[nodiscard]] bool HasWorkers() const {
    return min_workers && max_workers && *min_workers > 0 && *max_workers >= *min_workers;
  }
  /// Puts what it says, besides workers, into `options`.
  void ApplyTo(VersionOptions& options) const;
};

/// Knobs of one model version.
struct VersionOptions {
  SchedulerOptions scheduler;
  SequenceOptions sequences;
  std::chrono::milliseconds response_timeout{120'000};  // deadline of a request that names none
  std::chrono::milliseconds startup_timeout{120'000};   // load, check and warm-up together
  /// A request that waited longer than this is answered 504; 0: response_timeout alone counts. TorchServe:
  /// clientTimeoutInMills
  std::chrono::milliseconds client_timeout{0};
  int min_workers = 0;
  int max_workers = 0;
  int intra_op_threads = 0;  // of one worker; 0: the CPU quota divided by the workers
  /// A batch that takes no longer runs on the I/O thread that read its requests: two changes of threads would
  /// cost more than it. A version of which one batch ever takes much longer (its time depends on what
  /// is in the input) goes back to worker threads for inline_pause, and twice as long each time, since a
  /// machine that takes a CPU away looks the same. 0: always on workers.
  std::chrono::microseconds inline_limit{400};
  std::chrono::milliseconds inline_pause{10'000};
  /// Nice value of the workers of a version that takes longer for one row: what needs microseconds, an I/O
  /// thread or a small model, goes before what computes for milliseconds. 0: they are all equal.
  int slow_worker_nice = 10;
  TuningMode tuning = TuningMode::kBackground;
  Precision precision = Precision::kFloat32;
  bool workers_planned = false;  // nobody asked for a number of workers or threads: tuning may choose it
  std::int64_t max_image_pixels = 89'478'485;  // of the pictures of one request; 0: no limit

  ModelConfig given;  // what a call named; a snapshot keeps it, everything else is configuration

  /// How long a request that names no deadline may take.
  [[nodiscard]] std::chrono::milliseconds DefaultDeadline() const {
    return client_timeout.count() > 0 && client_timeout < response_timeout ? client_timeout
                                                                           : response_timeout;
  }
};

inline void ModelConfig::ApplyTo(VersionOptions& options) const {
  if (batch_size) options.scheduler.batch_size = *batch_size;
  if (max_batch_delay) options.scheduler.max_batch_delay = *max_batch_delay;
  if (response_timeout) options.response_timeout = *response_timeout;
  if (startup_timeout) options.startup_timeout = *startup_timeout;
  if (client_timeout) options.client_timeout = *client_timeout;
  if (sequences) options.sequences = *sequences;
  if (job_queue_size) options.scheduler.capacity = static_cast<std::size_t>(*job_queue_size);
}

/// Name → version → what is said of it.
using ModelConfigs = std::map<std::string, std::map<std::string, ModelConfig, std::less<>>, std::less<>>;

/// When workers are added between min_worker and max_worker, and taken away again.
struct AutoscaleOptions {
  std::chrono::milliseconds interval{250};  // between two looks
  std::chrono::milliseconds high{100};      // a request that would wait longer asks for a worker; 0: never
  std::chrono::milliseconds calm{30'000};   // without waiting, before a worker goes
};

/// Knobs of tuning that all versions share.
struct TunerOptions {
  std::chrono::milliseconds budget{20'000};  // of one version; a round that has begun is finished
  std::chrono::milliseconds delay{1'000};    // in the background: the first requests after a load go before
  std::filesystem::path folder;              // where results are kept; empty: nowhere
  int cpus = 1;                              // that this process may use
  /// What searches for variants in a process of its own, see search_process.h. Empty: this process does.
  std::vector<std::string> search_command;
};

}  // namespace serve
