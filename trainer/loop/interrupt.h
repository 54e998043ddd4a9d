#pragma once

namespace serve::trainer {

/// Ctrl-C while it lives: the first SIGINT (or SIGTERM) asks the program to finish early, a second one ends
/// it at once with exit code 130. What was there before comes back when it goes. One at a time: the signals
/// belong to the process.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  /// Whether a signal came.
  [[nodiscard]] static bool Interrupted();
};

}  // namespace serve::trainer
