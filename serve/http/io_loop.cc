#include "serve/http/io_loop.h"

#include <poll.h>
#include <pthread.h>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>

#include "serve/base/thread_slice.h"
#include "serve/http/access_log.h"
#include "serve/http/connection.h"
#include "serve/http/reply_sender.h"
#include "serve/telemetry/tracer.h"

namespace serve {
namespace {

/// How often a function that is to run soon lets what has just become ready go first.
constexpr int kMostLooks = 4;

/// Stands in `finished_` once the loop takes no more answers; never dereferenced.
Ticket* Closed() {
  static Ticket closed;
  return &closed;
}

}  // namespace

thread_local IoLoop* IoLoop::current_ = nullptr;

IoLoop::IoLoop() : work_(boost::asio::make_work_guard(context_)), sweep_timer_(context_) {}

IoLoop::~IoLoop() { Stop(); }

void IoLoop::Start(int number) {
  thread_ = std::thread([this, number] {
    pthread_setname_np(pthread_self(), ("io-" + std::to_string(number)).c_str());
    current_ = this;
    PreferShortSlices();
    ScheduleSweep();
    context_.run();
    FlushAccessLog();
    Tracer::Flush();
    current_ = nullptr;
  });
}

void IoLoop::Stop() {
  if (thread_.joinable()) {
    boost::asio::post(context_, [this] {
      stopping_ = true;
      sweep_timer_.cancel();
      work_.reset();
      const std::vector<Connection*> open = connections_;
      std::vector<std::shared_ptr<Connection>> held;
      held.reserve(open.size());
      for (Connection* connection : open) held.push_back(connection->shared_from_this());
      for (const auto& connection : held) connection->Close();
    });
    thread_.join();  // run() returns when the last connection has ended
  }
  // From here on answers are dropped; those that are on the stack go the same way.
  Ticket* ticket = finished_.exchange(Closed(), std::memory_order_acq_rel);
  while (ticket != nullptr && ticket != Closed()) {
    const std::shared_ptr<Ticket> dropped = std::move(ticket->self);
    ticket = ticket->next;
  }
}

void IoLoop::Finish(std::shared_ptr<Ticket> ticket) {
  const std::shared_ptr<IoLoop> alive = shared_from_this();  // the ticket may be gone once it is pushed
  Ticket* node = ticket.get();
  node->self = std::move(ticket);
  Ticket* head = finished_.load(std::memory_order_acquire);
  do {
    if (head == Closed()) {
      const std::shared_ptr<Ticket> dropped = std::move(node->self);
      return;
    }
    node->next = head;
  } while (
      !finished_.compare_exchange_weak(head, node, std::memory_order_acq_rel, std::memory_order_acquire));
  if (head != nullptr || (IsThisThread() && takes_soon_)) return;
  boost::asio::post(context_, [this] { TakeFinished(); });
}

void IoLoop::Post(UniqueFunction<void()> function) {
  auto ticket = std::make_shared<Ticket>();
  ticket->run = std::move(function);
  Finish(std::move(ticket));
}

void IoLoop::TakeFinished() {
  Ticket* latest = finished_.exchange(nullptr, std::memory_order_acq_rel);
  Ticket* oldest = nullptr;
  while (latest != nullptr) {
    Ticket* next = latest->next;
    latest->next = oldest;
    oldest = latest;
    latest = next;
  }
  while (oldest != nullptr) {
    const std::shared_ptr<Ticket> ticket = std::move(oldest->self);
    oldest = oldest->next;
    if (ticket->run) {
      ticket->run();
      continue;
    }
    ticket->answered = true;
    if (ticket->connection != nullptr) ticket->connection->Resume();
  }
}

void IoLoop::RunSoon(const void* key, UniqueFunction<void()> function) {
  for (Soon& known : soon_) {
    if (known.key != key) continue;
    ++known.asked;
    return;
  }
  soon_.push_back({.key = key, .function = std::move(function)});
  if (soon_.size() == 1) boost::asio::post(context_, [this] { TakeSoon(); });
}

void IoLoop::TakeSoon() {
  std::vector<Soon> ready;
  std::erase_if(soon_, [&](Soon& soon) {
    // Others came along since the last look: what they were read with may have brought still more.
    if (soon.asked > soon.seen && soon.looks < kMostLooks) {
      soon.seen = soon.asked;
      ++soon.looks;
      return false;
    }
    ready.push_back(std::move(soon));
    return true;
  });
  if (!soon_.empty()) boost::asio::post(context_, [this] { TakeSoon(); });
  if (ready.empty()) return;
  takes_soon_ = true;
  for (Soon& soon : ready) soon.function();
  takes_soon_ = false;
  TakeFinished();  // without another round through the io_context, which asks for events each time
}

void IoLoop::Enter(Connection& connection) {
  connection.place = connections_.size();
  connections_.push_back(&connection);
  if (stopping_) connection.Close();
}

void IoLoop::Leave(Connection& connection) {
  Connection* last = connections_.back();
  connections_[connection.place] = last;
  last->place = connection.place;
  connections_.pop_back();
}

void IoLoop::ScheduleSweep() {
  sweep_timer_.expires_after(kSweepPeriod);
  sweep_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error || stopping_) return;
    Sweep();
    ScheduleSweep();
  });
}

void IoLoop::Sweep() {
  const TimePoint now = SteadyClock::now();
  FlushAccessLog();
  Tracer::Flush();
  // Held, because a connection that is woken may end, and take itself out of the list.
  std::vector<std::shared_ptr<Connection>> overdue;
  for (Connection* connection : connections_) {
    if (connection->deadline() <= now) overdue.push_back(connection->shared_from_this());
  }
  for (const auto& connection : overdue) connection->Expire();
  LookForGoneClients();
}

void IoLoop::LookForGoneClients() {
  std::vector<std::shared_ptr<Connection>> waiting;
  std::vector<pollfd> sockets;
  for (Connection* connection : connections_) {
    if (!connection->waits_for_answer()) continue;
    waiting.push_back(connection->shared_from_this());
    sockets.push_back({connection->native_handle(), POLLRDHUP, 0});  // POLLHUP and POLLERR are always told
  }
  if (sockets.empty() || poll(sockets.data(), sockets.size(), 0) <= 0) return;
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    if ((sockets[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) waiting[i]->ClientGone();
  }
}

}  // namespace serve
