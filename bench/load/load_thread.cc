#include "bench/load/load_thread.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "serve/base/thread_slice.h"

namespace serve {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSweepPeriod(10);      // how late a timeout may be noticed
constexpr milliseconds kReconnectPause(100);  // after a failed attempt, so that a dead server is not hammered

int Open(const SocketAddress& address, int flags) {
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) return fd;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0) return fd;
  if (errno == EINPROGRESS) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

Result<SocketAddress> Resolve(const std::string& host, const std::string& port) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), port.c_str(), &wanted, &found);
  if (code != 0) return InvalidArgument(fmt::format("cannot resolve host {}: {}", host, gai_strerror(code)));
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

Status TryConnect(const SocketAddress& address) {
  const int fd = Open(address, 0);
  if (fd < 0) return {Code::kUnavailable, std::strerror(errno)};
  close(fd);
  return {};
}

LoadThread::LoadThread(const LoadOptions& options, const std::vector<std::string>& requests,
                       const SocketAddress& address, LoadShare share, Clock::time_point start)
    : options_(options),
      requests_(requests),
      address_(address),
      schedule_(start, options.rate > 0 ? options.rate : 1, share.threads, share.thread),
      max_requests_(options.max_requests > 0 ? share.Of(options.max_requests) : UINT64_MAX),
      open_loop_(options.rate > 0),
      expects_body_(options.method != "HEAD"),
      measure_from_(start + options.warmup),
      end_(start + options.warmup + options.duration),
      connections_(share.Of(static_cast<std::uint64_t>(options.connections))),
      buffer_(256 * 1024),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      next_request_(static_cast<std::size_t>(share.thread)) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // it only wakes the loop: nobody reads it
  epoll_ctl(epoll_, EPOLL_CTL_ADD, timer_, &event);
}

LoadThread::~LoadThread() {
  for (const Connection& connection : connections_) {
    if (connection.fd >= 0) close(connection.fd);
  }
  close(timer_);
  close(epoll_);
}

LoadResult LoadThread::Run() {
  PreferShortSlices();  // where a busy server shares the CPUs, latency is to be the server's, not ours
  Clock::time_point now = Clock::now();
  Clock::time_point next_sweep = now;
  for (Connection& connection : connections_) Connect(connection, now);
  while (true) {
    now = Clock::now();
    if (!stopping_ && (now >= end_ || answered_ >= max_requests_)) {
      stopping_ = true;
      stopped_at_ = std::min(now, end_);
    }
    if (stopping_ && answered_ >= begun_) break;
    if (now >= next_sweep) {  // it also ends what waits too long after the end
      Sweep(now);
      next_sweep = now + kSweepPeriod;
    }
    if (open_loop_) SendDue(now);
    Wait();
  }
  if (open_loop_) {
    const std::uint64_t due = std::min(schedule_.CountBefore(stopped_at_), max_requests_);
    result_.unsent = due - std::min(due, begun_);
  }
  result_.window = std::max(stopped_at_ - measure_from_, Clock::duration(1));
  return result_;
}

void LoadThread::Connect(Connection& connection, Clock::time_point now) {
  connection.fd = Open(address_, SOCK_NONBLOCK);
  if (connection.fd < 0) {
    ++result_.connect_errors;
    connection.due = now + kReconnectPause;
    return;
  }
  connection.state = State::kConnecting;
  connection.limit = now + options_.timeout;
  // Edge-triggered for both directions: no system call is ever needed to change what is waited for.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = &connection;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
}

void LoadThread::Close(Connection& connection, Clock::time_point reconnect_at) {
  if (connection.state == State::kIdle) std::erase(idle_, &connection);
  close(connection.fd);
  connection.fd = -1;
  connection.state = State::kClosed;
  connection.due = reconnect_at;
}

void LoadThread::Fail(Connection& connection, std::uint64_t& counter, Clock::time_point now) {
  if (now >= measure_from_) ++counter;
  if (connection.state == State::kBusy) ++answered_;
  Close(connection, now + kReconnectPause);
}

void LoadThread::BecomeIdle(Connection& connection, Clock::time_point now) {
  connection.state = State::kIdle;
  if (open_loop_) {
    idle_.push_back(&connection);
    SendDue(now);
  } else if (!stopping_ && begun_ < max_requests_ && now < end_) {
    Begin(connection, now, now);
  }
}

void LoadThread::SendDue(Clock::time_point now) {
  while (!idle_.empty() && !stopping_ && begun_ < max_requests_) {
    const Clock::time_point due = schedule_.At(begun_);
    if (due > now || due >= end_) return;
    Connection& connection = *idle_.back();
    idle_.pop_back();
    Begin(connection, due, now);
  }
}

void LoadThread::Begin(Connection& connection, Clock::time_point due, Clock::time_point now) {
  ++begun_;
  connection.state = State::kBusy;
  connection.request = &requests_[next_request_++ % requests_.size()];
  connection.sent = 0;
  connection.due = due;
  connection.limit = now + options_.timeout;
  connection.reader.Start(expects_body_);
  Write(connection);
}

void LoadThread::Write(Connection& connection) {
  const std::string& request = *connection.request;
  while (connection.sent < request.size()) {
    const ssize_t written =
        send(connection.fd, request.data() + connection.sent, request.size() - connection.sent, MSG_NOSIGNAL);
    if (written < 0) return;  // full: EPOLLOUT follows. Broken: the next recv says so
    connection.sent += static_cast<std::size_t>(written);
    result_.bytes_written += static_cast<std::uint64_t>(written);
  }
}

// `to_end`: the peer has closed, of which no further event will tell.
void LoadThread::Read(Connection& connection, bool to_end) {
  while (connection.fd >= 0) {
    const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    const Clock::time_point now = Clock::now();
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
      result_.bytes_read += static_cast<std::uint64_t>(got);
      if (connection.state == State::kIdle) return Fail(connection, result_.malformed, now);
      connection.reader.Feed({buffer_.data(), static_cast<std::size_t>(got)});
    } else if (connection.state == State::kIdle) {
      ++result_.reconnects;
      return Close(connection, now);
    } else if (got < 0 || connection.reader.FeedEnd() != ResponseReader::State::kDone) {
      return Fail(connection, result_.closed_errors, now);
    }
    if (connection.reader.state() == ResponseReader::State::kBroken) {
      return Fail(connection, result_.malformed, now);
    }
    if (connection.reader.state() == ResponseReader::State::kDone) return Answered(connection, now);
    if (!to_end && static_cast<std::size_t>(got) < buffer_.size()) return;  // nothing more is there
  }
}

void LoadThread::Answered(Connection& connection, Clock::time_point now) {
  const ResponseReader& answer = connection.reader;
  const int status = answer.status();
  ++answered_;
  if (now >= measure_from_) {
    const std::int64_t latency =
        std::chrono::duration_cast<std::chrono::nanoseconds>(now - connection.due).count();
    const bool ok = status >= 200 && status < 300;
    ++result_.statuses[status];
    (ok ? result_.ok : status == 503 ? result_.refused : result_.other).Record(latency);
    if (now < end_) {
      ++result_.in_window;
      if (ok) ++result_.ok_in_window;
    }
    if (status == 503 && answer.retry_after() >= 0) {
      const int seconds = answer.retry_after();
      result_.retry_after_min =
          result_.retry_after++ == 0 ? seconds : std::min(result_.retry_after_min, seconds);
      result_.retry_after_max = std::max(result_.retry_after_max, seconds);
    }
  }
  // A server may answer before it has read the whole body; then the rest must not pass for a next request.
  if (!answer.keep_alive() || connection.sent < connection.request->size()) {
    ++result_.reconnects;
    Close(connection, now);
    if (!stopping_) Connect(connection, now);
  } else {
    BecomeIdle(connection, now);
  }
}

void LoadThread::Handle(Connection& connection, std::uint32_t events) {
  if (connection.state == State::kConnecting) {
    const Clock::time_point now = Clock::now();
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Fail(connection, result_.connect_errors, now);
    if ((events & EPOLLOUT) == 0) return;
    BecomeIdle(connection, now);
  } else if ((events & EPOLLOUT) != 0 && connection.state == State::kBusy) {
    Write(connection);
  }
  constexpr std::uint32_t kEnded = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
  if ((events & (EPOLLIN | kEnded)) != 0) Read(connection, (events & kEnded) != 0);
}

void LoadThread::Sweep(Clock::time_point now) {
  for (Connection& connection : connections_) {
    if (connection.state == State::kClosed) {
      if (now >= connection.due && !stopping_) Connect(connection, now);
    } else if (connection.state != State::kIdle && now >= connection.limit) {
      Fail(connection, connection.state == State::kBusy ? result_.timeouts : result_.connect_errors, now);
    }
  }
}

void LoadThread::Wait() {
  if (open_loop_ && !idle_.empty() && !stopping_ && begun_ < max_requests_) ArmTimer(schedule_.At(begun_));
  std::array<epoll_event, 64> events;
  const int timeout = static_cast<int>(kSweepPeriod.count());
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    if (event.data.ptr != nullptr) Handle(*static_cast<Connection*>(event.data.ptr), event.events);
  }
}

void LoadThread::ArmTimer(Clock::time_point due) {
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::nanoseconds>(due.time_since_epoch()).count();
  itimerspec spec{};
  spec.it_value.tv_sec = since_epoch / 1'000'000'000;
  spec.it_value.tv_nsec = since_epoch % 1'000'000'000;
  timerfd_settime(timer_, TFD_TIMER_ABSTIME, &spec, nullptr);
}

}  // namespace serve
