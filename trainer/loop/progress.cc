#include "trainer/loop/progress.h"

#include <algorithm>
#include <ostream>
#include <string>

#include <fmt/format.h>

namespace serve::trainer {
namespace {

constexpr int kBarWidth = 20;

}  // namespace

Progress::Progress(std::ostream& out, Form form, int max_iterations)
    : out_(out), form_(form), max_iterations_(max_iterations) {}

void Progress::Show(const Iteration& now) {
  if (form_ == Form::kNone) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin_;
  // The start costs about as much as an iteration.
  const double left = passed.count() / (now.number + 1) * (max_iterations_ - now.number);
  const std::string text = fmt::format(
      "iteration {:>2}/{}  loss {:.4f}  training {:.4f}  validation {:.4f}  {:.1f} s left", now.number,
      max_iterations_, now.loss, now.training_accuracy, now.validation_accuracy, left);
  if (form_ == Form::kLines) {
    out_ << text << '\n';
  } else {
    const int filled =
        max_iterations_ > 0 ? std::min(kBarWidth * now.number / max_iterations_, kBarWidth) : kBarWidth;
    out_ << "\r\033[K[" << std::string(static_cast<std::size_t>(filled), '=')
         << std::string(static_cast<std::size_t>(kBarWidth - filled), ' ') << "] " << text;
    open_line_ = true;
  }
  out_.flush();
}

void Progress::Finish() {
  if (open_line_) out_ << '\n' << std::flush;
  open_line_ = false;
}

}  // namespace serve::trainer
