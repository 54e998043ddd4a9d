#include "bench/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace serve {

namespace {

constexpr int kSubBits = 7;  // 128 buckets for each power of two
constexpr std::int64_t kSubBuckets = std::int64_t{1} << kSubBits;
constexpr std::int64_t kLargest = (std::int64_t{1} << 40) - 1;

int ShiftOf(std::int64_t value) {
  return std::max(0, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(value))) - kSubBits - 1);
}

// Below 256 every value has its own bucket; from there each further power of two adds 128.
std::size_t IndexOf(std::int64_t value) {
  const int shift = ShiftOf(value);
  return static_cast<std::size_t>((std::int64_t{shift} << kSubBits) + (value >> shift));
}

std::int64_t MiddleOf(std::size_t index) {
  const auto position = static_cast<std::int64_t>(index);
  const std::int64_t shift = std::max<std::int64_t>(0, (position >> kSubBits) - 1);
  const std::int64_t low = (position - (shift << kSubBits)) << shift;
  return low + (std::int64_t{1} << shift) / 2;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : buckets_(IndexOf(kLargest) + 1) {}

void LatencyHistogram::Record(std::int64_t nanoseconds) {
  const std::int64_t value = std::clamp<std::int64_t>(nanoseconds, 0, kLargest);
  ++buckets_[IndexOf(value)];
  ++count_;
  sum_ += value;
  max_ = std::max(max_, nanoseconds);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

double LatencyHistogram::Mean() const {
  return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

std::int64_t LatencyHistogram::Percentile(double share) const {
  if (count_ == 0) return 0;
  const double wanted = std::ceil(share * static_cast<double>(count_));
  const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) return std::min(MiddleOf(i), max_);
  }
  return max_;
}

}  // namespace serve
