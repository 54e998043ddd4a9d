#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

namespace serve {

/// What a batch of n rows costs, learned at warm-up and while serving. Sizes share a cell by powers of two.
///
/// Threads: Record from workers, the rest from any thread; relaxed atomics, an estimate needs no more.
class BatchTimes {
 public:
  explicit BatchTimes(std::int64_t batch_size);

  void Record(std::int64_t rows, std::chrono::nanoseconds took);
  /// Replaces what was known of this size: the model runs in another way from now on.
  void Learn(std::int64_t rows, std::chrono::nanoseconds took);
  /// Zero when nothing near `rows` has been seen.
  [[nodiscard]] std::chrono::nanoseconds Predict(std::int64_t rows) const;
  /// The largest size up to batch_size whose time per row is no worse than that of batch 1 (with 10 % slack
  /// against noise); batch_size while nothing is known.
  [[nodiscard]] std::int64_t BestRows() const { return best_rows_.load(std::memory_order_relaxed); }

 private:
  struct Cell {
    std::atomic<std::int64_t> nanos_per_row{0};
    std::atomic<std::int64_t> seen{0};
  };
  void UpdateBest();

  const std::int64_t batch_size_;
  std::vector<Cell> cells_;  // cell i: sizes (2^(i-1), 2^i]
  std::atomic<std::int64_t> best_rows_;
  std::atomic<std::int64_t> updates_{0};
};

}  // namespace serve
