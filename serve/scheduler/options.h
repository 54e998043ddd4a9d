#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace serve {

/// Knobs of one version's queue.
struct SchedulerOptions {
  std::size_t capacity = 100;   // waiting requests; [1, 1e6]. TorchServe: job_queue_size
  std::int64_t batch_size = 1;  // rows; [1, 1e5]. TorchServe: batchSize
  /// Upper bound on how long the oldest request waits for company, from its arrival in the queue; 0: a free
  /// worker takes what is there, but for a moment (3 % of a batch's time) after a batch. TorchServe:
  /// maxBatchDelay
  std::chrono::milliseconds max_batch_delay{0};
};

}  // namespace serve
