#pragma once

#include <chrono>
#include <iosfwd>

#include "trainer/loop/train.h"

namespace serve::trainer {

/// Tells people how training goes: on a terminal one line that is written over, else a line an iteration.
class Progress {
 public:
  enum class Form { kNone, kLines, kBar };

  /// `out` is borrowed.
  Progress(std::ostream& out, Form form, int max_iterations);
  void Show(const Iteration& now);
  /// Ends the line of a bar.
  void Finish();

 private:
  std::ostream& out_;
  const Form form_;
  const int max_iterations_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  bool open_line_ = false;
};

}  // namespace serve::trainer
