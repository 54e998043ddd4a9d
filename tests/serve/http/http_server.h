#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "serve/http/io_threads.h"
#include "serve/http/listener.h"

namespace serve {

/// A client that sends exactly the bytes it is told to; gives up after ten seconds.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), ahead_(std::move(other.ahead_)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(RawClient&&) = delete;

  /// False: the peer takes no more.
  bool Send(std::string_view bytes);
  void CloseSending();
  void Close();

  struct Reply {
    int status = 0;  // 0: the connection ended, or nothing came in time
    std::string head;
    std::string body;
    [[nodiscard]] bool HeadHas(std::string_view line) const { return head.find(line) != std::string::npos; }
  };
  /// `with_body` false: the answer to a HEAD request.
  Reply Read(bool with_body = true);
  /// Everything until the server closes the connection.
  std::string Rest();
  /// True: the server has closed the connection, and nothing but `Read`s came before.
  bool Ended();

 private:
  bool Fill();

  int socket_ = -1;
  std::string ahead_;
};

std::string Get(std::string_view path, std::string_view fields = "");
std::string Post(std::string_view path, std::string_view body, std::string_view fields = "");

/// A listener on port 0 with routes that show what a connection does:
///   GET /ping       `pong`
///   POST /echo      the body
///   POST /blocking  the body, from a pool
///   POST /later     nothing, until the test answers; X-Deadline-Ms sets the deadline
///   POST /refused   answered before the route returns, through the sender
///   POST /thrower   throws
class HttpServer {
 public:
  explicit HttpServer(HttpLimits limits = {}, std::size_t threads = 2, ListenerTls tls = {});
  ~HttpServer();

  [[nodiscard]] std::uint16_t port() const { return listener->port(); }
  /// Waits for a request to /later. Its sender owes the answer.
  struct Later {
    ReplySender sender;
    std::shared_ptr<std::atomic<bool>> cancelled;
    std::string body;
  };
  Later Take();

  Metrics metrics{false};
  boost::asio::thread_pool pool{2};
  std::unique_ptr<IoThreads> io;
  std::unique_ptr<Listener> listener;

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Later> later_;
};

/// Waits until `condition` holds; false after ten seconds.
template <class Condition>
bool Eventually(Condition condition) {
  const TimePoint until = SteadyClock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (SteadyClock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace serve
