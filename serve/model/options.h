#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "serve/runtime/runtime.h"
#include "serve/scheduler/options.h"

namespace serve {

enum class TuningMode : std::uint8_t {
  kOff,         // the module as it was saved
  kLoad,        // a version is ready once its fastest way to run was found
  kBackground,  // it answers as saved meanwhile
};

/// Knobs of one model version.
struct VersionOptions {
  SchedulerOptions scheduler;
  std::chrono::milliseconds response_timeout{120'000};  // deadline of a request that names none
  std::chrono::milliseconds startup_timeout{120'000};   // load, check and warm-up together
  int min_workers = 0;
  int max_workers = 0;
  int intra_op_threads = 0;  // of one worker; 0: the CPU quota divided by the workers
  /// A batch that takes no longer runs on the I/O thread that read its requests: two changes of threads would
  /// cost more than it. A version of which one batch ever takes much longer there (its time depends on what
  /// is in the input) goes back to worker threads for good. 0: always on workers.
  std::chrono::microseconds inline_limit{400};
  TuningMode tuning = TuningMode::kBackground;
  Precision precision = Precision::kFloat32;
  bool workers_planned = false;  // nobody asked for a number of workers or threads: tuning may choose it
  std::int64_t max_image_pixels = 89'478'485;  // of the pictures of one request; 0: no limit
};

/// Knobs of tuning that all versions share.
struct TunerOptions {
  std::chrono::milliseconds budget{20'000};  // of one version; a round that has begun is finished
  std::chrono::milliseconds delay{1'000};    // in the background: the first requests after a load go before
  std::filesystem::path folder;              // where results are kept; empty: nowhere
  int cpus = 1;                              // that this process may use
};

}  // namespace serve
