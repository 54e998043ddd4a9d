#include "serve/scheduler/batch_times.h"

#include <algorithm>
#include <bit>

namespace serve {
namespace {

// A size is judged only after this many runs: the first ones of a module are slower.
constexpr std::int64_t kTrusted = 3;
// Sizes that were found too slow are allowed again for the first kTrial of so many runs: the model, or what
// runs beside it, may be another by now.
constexpr std::int64_t kTrialEvery = 4096;
constexpr std::int64_t kTrial = 64;
// A thread that had to let another one run for a moment took many times what its batch costs: so much counts,
// of what was known or of a time that is too short to grow from.
constexpr std::int64_t kMostGrowth = 2;
constexpr std::int64_t kShortNanos = 1000;

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
  std::int64_t per_row = took.count() / rows;
  const std::int64_t seen = cell.seen.fetch_add(1, std::memory_order_relaxed);
  const std::int64_t old = cell.nanos_per_row.load(std::memory_order_relaxed);
  if (seen >= kTrusted) per_row = std::min(per_row, std::max(old, kShortNanos) * kMostGrowth);
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
  const bool tried = updates >= kTrialEvery;
  const bool trial = tried && updates % kTrialEvery < kTrial;
  const bool begins = tried && updates % kTrialEvery == 0;
  const std::int64_t alone = cells_[0].nanos_per_row.load(std::memory_order_relaxed);
  std::int64_t best = 1;
  for (std::size_t i = cells_.size() - 1; i > 0; --i) {
    Cell& cell = cells_[i];
    const std::int64_t per_row = cell.nanos_per_row.load(std::memory_order_relaxed);
    const bool unknown = per_row == 0 || (!tried && cell.seen.load(std::memory_order_relaxed) < kTrusted);
    const bool fast = unknown || per_row <= alone + alone / 10;
    if (!fast && begins) cell.seen.store(0, std::memory_order_relaxed);  // what it takes now counts at once
    if ((fast || trial) && best == 1) best = std::min(batch_size_, std::int64_t{1} << i);
  }
  best_rows_.store(best, std::memory_order_relaxed);
}

}  // namespace serve
