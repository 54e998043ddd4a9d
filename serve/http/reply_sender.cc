#include "serve/http/reply_sender.h"

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include "serve/http/connection.h"
#include "serve/http/io_loop.h"

namespace serve {

void Ticket::Put(std::string_view part, std::string_view content_type,
                 const std::shared_ptr<std::atomic<bool>>& owner) {
  if (cancelled.load(std::memory_order_relaxed)) return;
  const std::string chunk = fmt::format("{:x}\r\n{}\r\n", part.size(), part);
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    if (part_type_.empty()) part_type_ = content_type;
    parts_ += chunk;
    unsent_.fetch_add(chunk.size(), std::memory_order_relaxed);
    wake = !has_parts_.exchange(true, std::memory_order_acq_rel);
  }
  if (!wake) return;  // the connection was told already
  // Weak: what stands in the loop's queue when the loop ends must not keep the loop alive.
  const std::weak_ptr<Ticket> ticket = std::shared_ptr<Ticket>(owner, this);
  boost::asio::post(loop->context(), [ticket] {
    const std::shared_ptr<Ticket> alive = ticket.lock();
    if (alive && alive->connection != nullptr) alive->connection->PartsReady();
  });
}

std::size_t Ticket::TakeParts(std::string& out) {
  std::lock_guard lock(mutex_);
  const std::size_t bytes = parts_.size();
  out += parts_;
  parts_.clear();
  has_parts_.store(false, std::memory_order_release);
  return bytes;
}

ReplySender::~ReplySender() {
  if (ticket_) std::move(*this).Send(ErrorReply(Internal("the request was dropped before it was answered")));
}

void ReplySender::Send(HttpReply reply) && {
  std::move(*this).Send([reply = std::move(reply)]() mutable { return std::move(reply); });
}

void ReplySender::Send(UniqueFunction<HttpReply()> make) && {
  const std::shared_ptr<Ticket> ticket = std::move(ticket_);
  ticket->make = std::move(make);
  if (ticket->loop->IsThisThread() && !ticket->suspended) {
    ticket->answered = true;  // the connection looks before it goes to sleep
    return;
  }
  ticket->loop->Finish(ticket);
}

}  // namespace serve
