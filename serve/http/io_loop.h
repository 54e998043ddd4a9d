#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "serve/base/unique_function.h"
#include "serve/request/request.h"

namespace serve {

class Connection;
struct Ticket;

/// One I/O thread: its io_context, its connections, the sweep over their deadlines, and the way back for
/// answers. Everything of a connection happens on this thread, so connections need neither locks nor strands.
///
/// Threads: Finish, Post and context() from any thread; the rest on the loop's own thread.
class IoLoop : public std::enable_shared_from_this<IoLoop> {
 public:
  using Executor = boost::asio::io_context::executor_type;
  /// How often deadlines are looked at, and clients that went away while they wait.
  static constexpr std::chrono::milliseconds kSweepPeriod{100};

  IoLoop();
  ~IoLoop();
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  void Start(int number);
  /// Closes every connection and joins the thread. Not on the loop's thread.
  void Stop();

  /// Hands an answered ticket to its connection. Answers that come together share one wake-up of the thread.
  /// After Stop the ticket is dropped.
  void Finish(std::shared_ptr<Ticket> ticket);

  /// Runs the function soon on the loop's thread; from any thread. After Stop it is dropped.
  void Post(UniqueFunction<void()> function);

  /// Runs the function after what is ready now has been handled; once for a key, however often it is asked
  /// for. While others go on asking, what became ready meanwhile goes first too, a few times.
  void RunSoon(const void* key, UniqueFunction<void()> function);

  boost::asio::io_context& context() { return context_; }
  [[nodiscard]] bool IsThisThread() const { return current_ == this; }
  /// The loop whose thread this is; null on any other thread.
  static IoLoop* Current() { return current_; }

  void Enter(Connection& connection);
  void Leave(Connection& connection);
  [[nodiscard]] const std::vector<Connection*>& connections() const { return connections_; }

 private:
  struct Soon {
    const void* key;
    UniqueFunction<void()> function;
    int asked = 0;  // again, by others
    int seen = 0;   // of them at the last look
    int looks = 0;
  };

  void TakeFinished();
  void TakeSoon();
  void ScheduleSweep();
  void Sweep();
  void LookForGoneClients();

  static thread_local IoLoop* current_;

  boost::asio::io_context context_{1};  // one thread runs it
  std::optional<boost::asio::executor_work_guard<Executor>> work_;
  boost::asio::basic_waitable_timer<SteadyClock, boost::asio::wait_traits<SteadyClock>, Executor>
      sweep_timer_;
  std::vector<Connection*> connections_;  // each knows its place
  bool stopping_ = false;
  std::vector<Soon> soon_;
  bool takes_soon_ = false;                 // it runs one of them, and looks at what is finished itself
  std::atomic<Ticket*> finished_{nullptr};  // a stack, latest first
  std::thread thread_;
};

}  // namespace serve
