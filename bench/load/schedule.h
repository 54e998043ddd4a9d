#pragma once

#include <chrono>
#include <cstdint>

namespace serve {

/// When the requests of an open loop are due: `rate` a second, evenly spaced, shared by several threads of
/// which each sends every n-th. The times follow from the start alone: a late answer moves no later request.
class ArrivalSchedule {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  ArrivalSchedule(TimePoint start, double rate, int threads = 1, int thread = 0)
      : start_(start), period_(1e9 / rate), threads_(threads), thread_(thread) {}

  /// When request `n` (from 0) of this thread is due.
  [[nodiscard]] TimePoint At(std::uint64_t n) const {
    const double slot = static_cast<double>(n) * threads_ + thread_;
    return start_ + std::chrono::nanoseconds(static_cast<std::int64_t>(slot * period_));
  }

  /// How many requests of this thread are due before `time`.
  [[nodiscard]] std::uint64_t CountBefore(TimePoint time) const {
    if (time <= start_) return 0;
    const double elapsed =
        static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(time - start_).count());
    auto n = static_cast<std::uint64_t>(elapsed / period_ / threads_);
    while (n > 0 && At(n - 1) >= time) --n;  // at most a step or two of rounding
    while (At(n) < time) ++n;
    return n;
  }

 private:
  TimePoint start_;
  double period_;  // nanoseconds between two requests of all threads together
  double threads_;
  double thread_;
};

}  // namespace serve
