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
  int warmup_passes = 3;     // per batch size; TorchScript optimises in its first calls
};

}  // namespace serve
