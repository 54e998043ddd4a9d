#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "serve/base/unique_function.h"
#include "serve/http/http_message.h"
#include "serve/request/request.h"

namespace serve {

class Connection;
class IoLoop;

/// One request that is answered later: what its connection and whoever computes the answer share. Each
/// request has its own, so an answer that comes too late meets a ticket without a connection and is dropped.
struct Ticket {
  std::shared_ptr<IoLoop> loop;  // keeps the way back alive, however late the answer is
  std::atomic<bool> cancelled{false};

  // The loop's thread only:
  Connection* connection = nullptr;  // null: nobody waits any more
  bool answered = false;
  bool suspended = false;
  TimePoint deadline = TimePoint::max();

  // Written before the ticket is handed to the loop, read after.
  UniqueFunction<HttpReply()> make;

  // Set: no answer but something that the loop's thread shall do (IoLoop::Post).
  UniqueFunction<void()> run;

  // The loop's list of answered tickets.
  Ticket* next = nullptr;
  std::shared_ptr<Ticket> self;
};

/// Whoever holds it owes the answer; dropping it answers 500.
///
/// Threads: any.
class ReplySender {
 public:
  explicit ReplySender(std::shared_ptr<Ticket> ticket) : ticket_(std::move(ticket)) {}
  ReplySender(ReplySender&&) noexcept = default;
  ReplySender& operator=(ReplySender&&) = delete;
  ReplySender(const ReplySender&) = delete;
  ~ReplySender();

  /// `make` is run on the connection's I/O thread, and not at all when nobody waits any more. Called while
  /// the route is still running, it costs no wake-up.
  void Send(UniqueFunction<HttpReply()> make) &&;
  void Send(HttpReply reply) &&;

  /// Becomes true when the client has gone or the deadline was answered.
  [[nodiscard]] std::shared_ptr<std::atomic<bool>> cancelled() const {
    return {ticket_, &ticket_->cancelled};
  }

 private:
  std::shared_ptr<Ticket> ticket_;
};

}  // namespace serve
