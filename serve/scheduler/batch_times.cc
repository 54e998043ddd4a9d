#include "serve/scheduler/batch_times.h"

#include <algorithm>
#include <bit>

namespace serve {
namespace {

// A size is judged only after this many runs: the first ones of a module are slower.
constexpr std::int64_t kTrusted = 3;
// A size that was found too slow is tried again after this many runs of any size.
constexpr std::int64_t kForgetAfter = 4096;

std::size_t CellOf(std::int64_t rows) {
  return static_cast<std::size_t>(
      std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(rows, 1) - 1)));
}

}  // namespace

BatchTimes::BatchTimes(std::int64_t batch_size)
    : batch_size_(batch_size), cells_(CellOf(batch_size) + 1), best_rows_(batch_size) {}

void BatchTimes::Record(std::int64_t rows, std::chrono::nanoseconds took) {
  if (rows <= 0) return;
  Cell& cell = cells_[std::min(CellOf(rows), cells_.size() - 1)];
  const std::int64_t per_row = took.count() / rows;
  const std::int64_t seen = cell.seen.fetch_add(1, std::memory_order_relaxed);
  const std::int64_t old = cell.nanos_per_row.load(std::memory_order_relaxed);
  // The first runs of a module are slow, so early values are replaced quickly.
  const std::int64_t weight = seen < kTrusted ? 1 : 8;
  cell.nanos_per_row.store(seen == 0 ? per_row : old + (per_row - old) / weight, std::memory_order_relaxed);
  if (cells_.size() > 1) UpdateBest();
}

void BatchTimes::Learn(std::int64_t rows, std::chrono::nanoseconds took) {
  Cell& cell = cells_[std::min(CellOf(rows), cells_.size() - 1)];
  cell.nanos_per_row.store(took.count() / std::max<std::int64_t>(rows, 1), std::memory_order_relaxed);
  cell.seen.store(kTrusted, std::memory_order_relaxed);
  if (cells_.size() > 1) UpdateBest();
}

std::chrono::nanoseconds BatchTimes::Predict(std::int64_t rows) const {
  for (std::size_t i = std::min(CellOf(rows), cells_.size() - 1) + 1; i-- > 0;) {
    if (cells_[i].seen.load(std::memory_order_relaxed) > 0) {
      return std::chrono::nanoseconds(cells_[i].nanos_per_row.load(std::memory_order_relaxed) * rows);
    }
  }
  return std::chrono::nanoseconds(0);
}

void BatchTimes::UpdateBest() {
  const std::int64_t updates = updates_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (cells_[0].seen.load(std::memory_order_relaxed) < kTrusted) return;
  const std::int64_t alone = cells_[0].nanos_per_row.load(std::memory_order_relaxed);
  std::int64_t best = 1;
  for (std::size_t i = cells_.size() - 1; i > 0; --i) {
    Cell& cell = cells_[i];
    const bool unknown = cell.seen.load(std::memory_order_relaxed) < kTrusted;
    if (unknown || cell.nanos_per_row.load(std::memory_order_relaxed) <= alone + alone / 10) {
      best = std::min(batch_size_, std::int64_t{1} << i);
      break;
    }
    if (updates % kForgetAfter == 0) cell.seen.store(0, std::memory_order_relaxed);
  }
  best_rows_.store(best, std::memory_order_relaxed);
}

}  // namespace serve
