#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace serve {

/// Calls a function every `interval`, on a thread of its own, first after one interval. The destructor waits
/// for a call that runs. What the function uses must outlive this: make it the last member.
class Periodic {
 public:
  Periodic(std::chrono::milliseconds interval, std::function<void()> call)
      : thread_([this, interval, call = std::move(call)](const std::stop_token& stop) {
          std::unique_lock lock(mutex_);
          for (;;) {
            wake_.wait_for(lock, stop, interval, [] { return false; });
            if (stop.stop_requested()) return;
            call();
          }
        }) {}
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;

 private:
  std::mutex mutex_;  // for wake_ alone
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace serve
