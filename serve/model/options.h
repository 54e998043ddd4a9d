#pragma once

#include <chrono>

#include "serve/scheduler/options.h"

namespace serve {

/// Knobs of one model version.
struct VersionOptions {
  SchedulerOptions scheduler;
  std::chrono::milliseconds response_timeout{120'000};  // deadline of a request that names none
  std::chrono::milliseconds startup_timeout{120'000};   // load, check and warm-up together
  int min_workers = 0;
  int max_workers = 0;
  int intra_op_threads = 0;  // of one worker; 0: the CPU quota divided by the workers
  /// A full batch that takes no longer runs on the I/O thread that read its requests: for a small model two
  /// changes of threads cost more than the model. A version of which one batch ever takes much longer there
  /// (its time depends on what is in the input) goes back to worker threads for good. 0: always on workers.
  std::chrono::microseconds inline_limit{200};
  int warmup_passes = 3;  // per batch size; TorchScript optimises in its first calls
};

}  // namespace serve
