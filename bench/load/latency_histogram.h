#pragma once

#include <cstdint>
#include <vector>

namespace serve {

/// Counts durations in buckets whose width grows with the value: every power of two has 128 of them, so a
/// percentile is off by less than 1 %. Minimum, maximum and mean are exact.
///
/// Units:   nanoseconds; what exceeds 18 minutes is counted in the last bucket.
/// Threads: one; merge the histograms of several threads at the end.
class LatencyHistogram {
 public:
  LatencyHistogram();

  void Record(std::int64_t nanoseconds);
  void Merge(const LatencyHistogram& other);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::int64_t max() const { return max_; }
  [[nodiscard]] double Mean() const;
  /// The smallest value that `share` (0..1) of all values do not exceed, as the middle of its bucket;
  /// 0 when nothing was recorded.
  [[nodiscard]] std::int64_t Percentile(double share) const;

 private:
  std::vector<std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  std::int64_t sum_ = 0;
  std::int64_t max_ = 0;
};

}  // namespace serve
