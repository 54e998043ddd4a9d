#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "serve/base/status.h"
#include "serve/http/connection.h"
#include "serve/http/io_threads.h"
#include "serve/http/options.h"
#include "serve/http/router.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// Accepts connections on one address and hands them to the I/O threads in turn.
///
/// Limits:  over max_connections a client is told 503 and closed; connections_refused counts it.
/// Drain:   StopAccepting(), then Drain(): idle connections are closed, busy ones get their answer with
///          `connection: close`. The destructor closes what is left.
/// Threads: every method from any thread but an I/O thread.
class Listener {
 public:
  /// `host`: an IP address (IPv6 without brackets), a name, or the absolute path of a Unix socket, whose file
  /// is made, and taken over from a process that is gone; `port` 0: the system chooses. `setting` is
  /// where they come from (--inference-address): a message names it. `threads` and `metrics` are borrowed and
  /// outlive this, as does what the routes use. Errors: kUnavailable when it cannot be bound; names the
  /// address and the reason. `tls` and `tracer`: borrowed
  /// likewise; a tracer that is null traces nothing.
  static Result<std::unique_ptr<Listener>> Open(IoThreads& threads, std::string_view host, std::uint16_t port,
                                                std::string_view setting, Router router,
                                                const HttpLimits& limits, Metrics& metrics,
                                                ListenerTls tls = {}, const Tracer* tracer = nullptr);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /// The port that was bound: the system's choice when the address said 0; of a Unix socket 0.
  [[nodiscard]] std::uint16_t port() const { return endpoint_.port(); }
  /// `http://127.0.0.1:8080`, `https://[::1]:8443`, `unix:/run/flambeau.sock`.
  [[nodiscard]] std::string url() const;

  void StopAccepting();
  /// True: every connection has ended; false: the deadline came first.
  bool Drain(TimePoint deadline);

  [[nodiscard]] std::size_t connections() const { return state_->open.load(); }

 private:
  using Executor = IoLoop::Executor;
  using Acceptor = boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol, Executor>;
  using Timer =
      boost::asio::basic_waitable_timer<SteadyClock, boost::asio::wait_traits<SteadyClock>, Executor>;

  Listener(const std::vector<std::shared_ptr<IoLoop>>& loops, Router router, const HttpLimits& limits,
           Metrics& metrics, ListenerTls tls, const Tracer* tracer);
  Status BindPath(const std::string& path, std::string_view setting);
  Status Bind(std::string_view host, std::uint16_t port, std::string_view setting);
  [[nodiscard]] const char* scheme() const { return state_->tls.keys == nullptr ? "http" : "https"; }
  void Start();
  Connection::Awaitable<void> Accept();
  void Admit(Connection::Socket socket, const Connection::Endpoint& peer, IoLoop& loop);
  /// Does something to every connection of this listener, on its own thread.
  void ForEachConnection(void (Connection::*action)());

  const std::vector<std::shared_ptr<IoLoop>> loops_;
  const std::shared_ptr<ListenerState> state_;
  Acceptor acceptor_;
  Timer pause_;  // after the system had no descriptor left
  boost::asio::ip::tcp::endpoint endpoint_;
  std::string path_;  // of a Unix socket; empty: TCP
  bool started_ = false;
  bool stopping_ = false;  // the first loop's thread
  // Guarded by state_->mutex:
  bool accepting_ = false;
  int stops_ = 0;  // of StopAccepting, on their way to the first loop's thread
};

}  // namespace serve
