#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <vector>

#include "bench/load/load_client.h"
#include "bench/load/response_reader.h"
#include "bench/load/schedule.h"

namespace serve {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

/// The first address of a host. Errors: kInvalidArgument with the resolver's reason.
Result<SocketAddress> Resolve(const std::string& host, const std::string& port);
/// Connects once and closes. Errors: kUnavailable with the system's reason.
Status TryConnect(const SocketAddress& address);

/// Which part of the connections and of the arrivals belongs to a thread.
struct LoadShare {
  int thread = 0;
  int threads = 1;
  [[nodiscard]] std::uint64_t Of(std::uint64_t total) const {
    const auto n = static_cast<std::uint64_t>(threads);
    return total / n + (static_cast<std::uint64_t>(thread) < total % n ? 1 : 0);
  }
};

/// The connections of one thread around one epoll: per request one send, one recv and a share of an
/// epoll_wait. It is written on epoll itself, since Asio would add a failed recv to each request, and the
/// load must cost less than what it measures. All references outlive it; Run is called once.
class LoadThread {
 public:
  using Clock = std::chrono::steady_clock;

  LoadThread(const LoadOptions& options, const std::vector<std::string>& requests,
             const SocketAddress& address, LoadShare share, Clock::time_point start);
  ~LoadThread();
  LoadThread(const LoadThread&) = delete;
  LoadThread& operator=(const LoadThread&) = delete;

  LoadResult Run();

 private:
  enum class State { kClosed, kConnecting, kIdle, kBusy };
  struct Connection {
    int fd = -1;
    State state = State::kClosed;
    const std::string* request = nullptr;
    std::size_t sent = 0;
    Clock::time_point due;    // when its request was to be sent; for kClosed, when to connect again
    Clock::time_point limit;  // when its request or its connecting has taken too long
    ResponseReader reader;
  };

  void Connect(Connection& connection, Clock::time_point now);
  void Close(Connection& connection, Clock::time_point reconnect_at);
  void Fail(Connection& connection, std::uint64_t& counter, Clock::time_point now);
  void BecomeIdle(Connection& connection, Clock::time_point now);
  void SendDue(Clock::time_point now);
  void Begin(Connection& connection, Clock::time_point due, Clock::time_point now);
  void Write(Connection& connection);
  void Read(Connection& connection, bool to_end);
  void Answered(Connection& connection, Clock::time_point now);
  void Handle(Connection& connection, std::uint32_t events);
  void Sweep(Clock::time_point now);
  void Wait();
  void ArmTimer(Clock::time_point due);

  const LoadOptions& options_;
  const std::vector<std::string>& requests_;
  const SocketAddress& address_;
  const ArrivalSchedule schedule_;
  const std::uint64_t max_requests_;
  const bool open_loop_;
  const bool expects_body_;
  const Clock::time_point measure_from_;
  const Clock::time_point end_;

  std::vector<Connection> connections_;
  std::vector<Connection*> idle_;
  std::vector<char> buffer_;
  int epoll_ = -1;
  int timer_ = -1;
  std::uint64_t begun_ = 0;     // requests sent so far, warm-up included
  std::uint64_t answered_ = 0;  // answers and failures so far, warm-up included
  std::size_t next_request_ = 0;
  bool stopping_ = false;  // sends nothing more, waits for what is out
  Clock::time_point stopped_at_;
  LoadResult result_;
};

}  // namespace serve
