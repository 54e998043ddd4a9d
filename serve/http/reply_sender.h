#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "serve/base/unique_function.h"
#include "serve/http/http_message.h"
#include "serve/request/request.h"

namespace serve {

class Connection;
class IoLoop;

/// One request that is answered later: what its connection and whoever computes the answer share. Each
/// request has its own, so an answer that comes too late meets a ticket without a connection and is dropped.
struct Ticket final : PartSink {
  std::shared_ptr<IoLoop> loop;  // keeps the way back alive, however late the answer is
  std::atomic<bool> cancelled{false};

  // The loop's thread only:
  Connection* connection = nullptr;  // null: nobody waits any more
  bool answered = false;
  bool suspended = false;
  TimePoint deadline = TimePoint::max();

  // Written before the ticket is handed to the loop, read after.
  UniqueFunction<HttpReply()> make;
  std::optional<RequestTrace> trace;  // none: nobody wants to know

  // Set: no answer but something that the loop's thread shall do (IoLoop::Post).
  UniqueFunction<void()> run;

  /// The parts of the answer that come before it, each one chunk of HTTP's chunked encoding.
  void Put(std::string_view part, std::string_view content_type,
           const std::shared_ptr<std::atomic<bool>>& owner) override;
  [[nodiscard]] bool Full() const override {
    return unsent_.load(std::memory_order_relaxed) > max_unsent && !cancelled.load(std::memory_order_relaxed);
  }
  /// Appends what has come since; gives how many bytes. They count as unsent until Sent() is told.
  std::size_t TakeParts(std::string& out);
  void Sent(std::size_t bytes) { unsent_.fetch_sub(bytes, std::memory_order_relaxed); }
  /// Whether there were parts since the last TakeParts.
  [[nodiscard]] bool HasParts() const { return has_parts_.load(std::memory_order_acquire); }
  [[nodiscard]] std::string_view part_type() const { return part_type_; }  // of the first, once there was one
  std::size_t max_unsent = 0;

  // The loop's list of answered tickets.
  Ticket* next = nullptr;
  std::shared_ptr<Ticket> self;

 private:
  std::atomic<std::size_t> unsent_{0};
  std::atomic<bool> has_parts_{false};
  std::mutex mutex_;   // guards parts_
  std::string parts_;  // encoded
  std::string_view part_type_;
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
  /// Where parts of the answer may go before it; lives as long as cancelled().
  [[nodiscard]] PartSink* parts() const { return ticket_.get(); }
  /// Where the request's times are noted; likewise. Null: nowhere.
  [[nodiscard]] RequestTrace* trace() const { return ticket_->trace ? &*ticket_->trace : nullptr; }

 private:
  std::shared_ptr<Ticket> ticket_;
};

}  // namespace serve
