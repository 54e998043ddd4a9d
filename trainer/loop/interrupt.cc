#include "trainer/loop/interrupt.h"

#include <csignal>
#include <string_view>
#include <unistd.h>

namespace serve::trainer {
namespace {

constexpr int kExitInterrupted = 130;  // as shells report SIGINT

volatile std::sig_atomic_t interrupted = 0;
struct sigaction before_int;
struct sigaction before_term;

void OnSignal(int) {
  if (interrupted != 0) _exit(kExitInterrupted);  // exit() is not for signal handlers
  interrupted = 1;
  constexpr std::string_view kText = "\nstopping after this iteration; again to end at once\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText.data(), kText.size());
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = OnSignal;
  action.sa_flags = SA_RESTART;  // a read or write that is under way goes on
  sigaction(SIGINT, &action, &before_int);
  sigaction(SIGTERM, &action, &before_term);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &before_int, nullptr);
  sigaction(SIGTERM, &before_term, nullptr);
}

bool InterruptGuard::Interrupted() { return interrupted != 0; }

}  // namespace serve::trainer
