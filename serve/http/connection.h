#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <boost/beast/core/flat_buffer.hpp>

#include "serve/base/unique_function.h"
#include "serve/http/head_parser.h"
#include "serve/http/http_message.h"
#include "serve/http/io_loop.h"
#include "serve/http/options.h"
#include "serve/http/reply_finisher.h"
#include "serve/http/reply_sender.h"
#include "serve/http/router.h"
#include "serve/http/stream.h"
#include "serve/security/tls_keys.h"
#include "serve/telemetry/metrics.h"
#include "serve/telemetry/tracer.h"

namespace serve {

/// Whether and how a listener speaks TLS.
struct ListenerTls {
  const TlsKeys* keys = nullptr;    // null: plain HTTP
  bool client_certificate = false;  // clients must show one
};

/// What the connections of one listener share.
struct ListenerState {
  ListenerState(Router table, HttpLimits bounds, Metrics& counters, ListenerTls speaks, const Tracer* traces)
      : router(std::move(table)),
        limits(bounds),
        finisher(bounds),
        metrics(counters),
        tls(speaks),
        tracer(traces) {}

  const Router router;
  const HttpLimits limits;
  const ReplyFinisher finisher;
  Metrics& metrics;            // the application's
  const ListenerTls tls;       // the application's keys
  const Tracer* const tracer;  // null: requests are not traced

  std::atomic<bool> draining{false};
  std::atomic<std::size_t> open{0};     // connections that are served
  std::atomic<std::size_t> refused{0};  // connections that are being told that there are too many
  std::mutex mutex;                     // for `changed`, and what the listener says
  std::condition_variable changed;      // a connection ended while draining, or accepting ended
};

/// One HTTP/1.1 connection: read, dispatch, write, until the peer or a timeout ends it.
///
/// Order:    pipelined requests are answered one after the other; bytes that were read ahead are kept.
/// Timeouts: no timer of its own. It states a deadline for what it waits for, and the loop's sweep calls
/// Expire().
///           Header or body overdue: 408; the request's own deadline: 504; idle, write, linger: closed.
/// TLS:      the handshake comes first, within header_timeout. A client that speaks plain HTTP is told so in
///           plain HTTP.
/// Parts:    an answer that is made bit by bit goes out so, in chunks (connection_parts.cc). What breaks it
/// off can only end the connection, for the status is sent.
/// Gone:     a client that closes its connection, or only its sending side, while it waits for a prediction
/// counts
///           as gone: its request is cancelled.
/// Errors:   a malformed request is answered (400, 408, 413, 417, 431) and the connection is closed after
/// reading for
///           a moment what the client still sends, so that the client reads the answer and not a reset.
/// Threads:  its loop's thread only.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Executor = IoLoop::Executor;
  using Socket = Stream::Socket;
  using Endpoint = boost::asio::generic::stream_protocol::endpoint;
  template <class T>
  using Awaitable = boost::asio::awaitable<T, Executor>;

  /// `refused`: there are too many connections; say so and close. `loop` outlives the connection.
  Connection(Socket socket, const Endpoint& peer, IoLoop& loop, std::shared_ptr<ListenerState> listener,
             bool refused);
  ~Connection();

  /// The whole life, on the loop's thread.
  static Awaitable<void> Run(std::shared_ptr<Connection> self);

  // What the loop asks and does.
  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  [[nodiscard]] bool waits_for_answer() const { return phase_ == Phase::kWaiting; }
  [[nodiscard]] int native_handle() { return stream_.socket().native_handle(); }
  [[nodiscard]] const ListenerState* listener() const { return listener_.get(); }
  void Expire();      // the deadline has passed
  void ClientGone();  // while waiting for an answer
  void Resume();      // the answer is there
  void PartsReady();  // a part of it
  void Close();       // now, whatever it does
  void CloseIfIdle();
  std::size_t place = 0;  // in the loop's list

 private:
  enum class Phase : std::uint8_t { kIdle, kHandshake, kHeader, kBody, kWaiting, kWrite, kLinger };
  enum class Got : std::uint8_t { kRequest, kRefusal, kNothing };
  enum class Wake : std::uint8_t { kAnswered, kParts, kDeadline, kGone };

  Awaitable<void> Serve();
  Awaitable<bool> Handshake();
  Awaitable<Got> ReadHead();
  Awaitable<Got> ReadBody();
  Awaitable<Got> ReadChunked();
  Awaitable<bool> SendContinue();
  Awaitable<void> Suspend();
  Awaitable<bool> WriteRest();
  Awaitable<bool> SendParts();
  Awaitable<bool> WriteOut();
  Awaitable<void> Linger();

  std::size_t HeadEnd();
  Got TakeHead(std::size_t size);
  Got CheckBody();
  bool BodyIsBuffered();
  bool StartAnswer();
  void FinishAnswer();
  void MakeReply(Ticket& ticket);
  [[nodiscard]] bool AnswersInParts() const;
  bool AppendPartsHead(const Ticket& ticket);
  bool AppendAnswer(Ticket& ticket);
  void EndParts(Ticket& ticket, bool complete);
  bool SerializeAndTryWrite();
  void BeginTrace();
  [[nodiscard]] const TraceContext* TracedContext() const {
    return trace_.context.trace_id[0] == '\0' ? nullptr : &trace_.context;
  }
  void KeepTrace(Ticket& ticket, bool answered);
  void RecordSpan(int status, TimePoint now) const;
  void Log(int status, TimePoint now) const;

  void SetPhase(Phase phase, TimePoint deadline);
  Got Refuse(HttpReply reply);
  Got Overdue(std::string_view what, std::chrono::milliseconds limit, std::string_view setting);
  boost::asio::mutable_buffer RoomToRead();

  Stream stream_;
  IoLoop& loop_;
  const std::shared_ptr<ListenerState> listener_;
  const HttpLimits& limits_;
  const bool refused_;
  std::string peer_;  // "/127.0.0.1:64003"; of a Unix socket "127.0.0.1", as TorchServe

  Phase phase_ = Phase::kIdle;
  TimePoint deadline_ = TimePoint::max();
  bool overdue_ = false;
  bool closing_ = false;
  bool plain_on_tls_ = false;  // the client speaks plain HTTP where TLS is spoken

  boost::beast::flat_buffer buffer_;  // what was read and not used yet
  std::size_t scanned_ = 0;           // of buffer_, without the end of a header
  HttpRequest request_;
  std::optional<HeadParser> parser_;
  bool expects_continue_ = false;
  std::size_t bytes_in_ = 0;
  Router::Found found_;
  RequestTrace trace_;  // empty without a tracer, and when the header could not be read

  std::shared_ptr<Ticket> ticket_;
  UniqueFunction<void()> resume_;
  Wake wake_ = Wake::kAnswered;

  HttpReply reply_;
  std::string out_;          // the serialised head, and a small body
  std::size_t written_ = 0;  // of out_ and the body behind it
  std::size_t sent_ = 0;     // of an answer in parts, before out_
  bool broken_ = false;      // the peer takes nothing any more
};

}  // namespace serve
