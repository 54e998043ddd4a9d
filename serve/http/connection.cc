#include "serve/http/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/access_log.h"

namespace serve {
namespace {

namespace asio = boost::asio;

constexpr asio::use_awaitable_t<IoLoop::Executor> kAwait;
constexpr std::size_t kReadAhead = 4096;
constexpr std::size_t kLingerBytes = 256 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string PeerText(const Connection::Endpoint& peer) {
  boost::system::error_code error;
  if (peer.address().is_v6()) return fmt::format("/[{}]:{}", peer.address().to_string(), peer.port());
  return fmt::format("/{}:{}", peer.address().to_string(), peer.port());
}

/// The two pieces behind the first `skip` bytes.
std::array<asio::const_buffer, 2> Pieces(const std::string& head, std::string_view body, std::size_t skip) {
  const std::size_t of_head = std::min(skip, head.size());
  const std::size_t of_body = skip - of_head;
  return {asio::const_buffer(head.data() + of_head, head.size() - of_head),
          asio::const_buffer(body.data() + of_body, body.size() - of_body)};
}

}  // namespace

Connection::Connection(Socket socket, const Endpoint& peer, IoLoop& loop, std::shared_ptr<ListenerState> listener,
                       bool refused)
    : socket_(std::move(socket)),
      loop_(loop),
      listener_(std::move(listener)),
      limits_(listener_->limits),
      refused_(refused),
      peer_(PeerText(peer)) {}

Connection::~Connection() {
  (refused_ ? listener_->refused : listener_->open).fetch_sub(1);
  if (!refused_) listener_->metrics.connections.Add(-1);
  if (listener_->draining.load()) {
    const std::lock_guard lock(listener_->mutex);
    listener_->changed.notify_all();
  }
}

Connection::Awaitable<void> Connection::Run(std::shared_ptr<Connection> self) {
  struct Membership {
    explicit Membership(Connection& connection) : connection(connection) {
      connection.loop_.Enter(connection);
    }
    ~Membership() { connection.loop_.Leave(connection); }
    Connection& connection;
  };
  const Membership membership(*self);
  boost::system::error_code ignored;
  self->socket_.non_blocking(true, ignored);
  co_await self->Serve();
  self->socket_.close(ignored);
}

Connection::Awaitable<void> Connection::Serve() {
  deadline_ = SteadyClock::now() + limits_.idle_timeout;
  bool more = true;
  while (more && !closing_) {
    Got got = Got::kRefusal;
    if (refused_) {
      Refuse(ErrorReply(Status{Code::kUnavailable,
                               fmt::format("the server has {} open connections, which is its limit "
                                           "(max_connections); try again later", limits_.max_connections)}));
    } else {
      got = co_await ReadHead();
    }
    if (got == Got::kRequest && !BodyIsBuffered()) got = co_await ReadBody();
    if (got == Got::kNothing) break;
    if (got == Got::kRequest) {
      if (!StartAnswer()) co_await Suspend();
      FinishAnswer();
      if (broken_) break;
    }
    more = SerializeAndTryWrite();
    bool written = !broken_;
    if (written && written_ < out_.size() + reply_.body.size()) written = co_await WriteRest();
    const TimePoint now = SteadyClock::now();
    Log(reply_.status, now);
    if (!written) break;
    SetPhase(Phase::kIdle, now + limits_.idle_timeout);
    if (!more) co_await Linger();
  }
}

// --- reading ---------------------------------------------------------------------------------------------------

asio::mutable_buffer Connection::RoomToRead() {
  // The buffer starts at one page and grows only for headers that need it.
  const std::size_t used = buffer_.size();
  return buffer_.prepare(used < kReadAhead ? kReadAhead - used : kReadAhead);
}

std::size_t Connection::HeadEnd() {
  const char* data = static_cast<const char*>(buffer_.data().data());
  const std::size_t size = buffer_.size();
  const std::size_t from = scanned_ > 3 ? scanned_ - 3 : 0;
  const void* end = size > from ? memmem(data + from, size - from, "\r\n\r\n", 4) : nullptr;
  scanned_ = size;
  return end == nullptr ? 0 : static_cast<std::size_t>(static_cast<const char*>(end) - data) + 4;
}

Connection::Awaitable<Connection::Got> Connection::ReadHead() {
  request_.Clear();
  parser_.reset();
  reply_ = HttpReply();
  bytes_in_ = 0;
  scanned_ = 0;
  boost::system::error_code error;
  bool fresh = true;  // nothing of this request was seen
  for (;;) {
    if (fresh && buffer_.size() >= 2 && std::memcmp(buffer_.data().data(), "\r\n", 2) == 0) {
      buffer_.consume(2);  // some clients send an empty line after a body; RFC 9112 2.2
    }
    if (buffer_.size() > 0) {
      if (*static_cast<const unsigned char*>(buffer_.data().data()) == 0x16) {
        co_return Refuse(ErrorReply(InvalidArgument("this listener speaks plain HTTP; the client started TLS")));
      }
      const std::size_t end = HeadEnd();
      if (end > limits_.max_header_bytes || (end == 0 && buffer_.size() >= limits_.max_header_bytes)) {
        co_return Refuse(ErrorReply(
            Status{Code::kHeaderTooLarge,
                   fmt::format("the request header is larger than the limit of {} bytes (max_header_size)",
                               limits_.max_header_bytes)}));
      }
      if (end != 0) co_return TakeHead(end);
      if (fresh && buffer_.size() > 2) {
        SetPhase(Phase::kHeader, SteadyClock::now() + limits_.header_timeout);
        fresh = false;
      }
    } else if (listener_->draining.load(std::memory_order_relaxed) && socket_.available(error) == 0) {
      co_return Got::kNothing;
    }
    const asio::mutable_buffer room = RoomToRead();
    auto token = asio::redirect_error(kAwait, error);
    const std::size_t read = co_await socket_.async_read_some(room, token);
    buffer_.commit(read);
    if (closing_) co_return Got::kNothing;
    if (error) {
      if (overdue_ && phase_ == Phase::kHeader) {
        co_return Overdue("the request header", limits_.header_timeout, "header_timeout");
      }
      co_return Got::kNothing;  // the peer is done, silent or broken: nobody to answer
    }
  }
}

Connection::Got Connection::TakeHead(std::size_t size) {
  const char* data = static_cast<const char*>(buffer_.data().data());
  request_.head.assign(data, data + size);
  buffer_.consume(size);
  bytes_in_ = size;
  request_.arrival = SteadyClock::now();
  const Status status = parser_.emplace(request_, limits_).ParseHead();
  if (!status.ok()) return Refuse(ErrorReply(status));
  const std::string_view id = request_.Header("x-request-id");
  if (IsSaneRequestId(id)) {
    request_.request_id = id;
  } else {
    AppendRequestId(request_.request_id);
  }
  found_ = listener_->router.Find(request_);
  return CheckBody();
}

Connection::Got Connection::CheckBody() {
  if (request_.content_length.value_or(0) > limits_.max_body_bytes) {
    return Refuse(ErrorReply(
        Status{Code::kPayloadTooLarge,
               fmt::format("the request body of {} bytes is larger than the limit of {} bytes (max_request_size)",
                           *request_.content_length, limits_.max_body_bytes)}));
  }
  const std::string_view expect = request_.Header("expect");
  expects_continue_ = false;
  if (!expect.empty() && !request_.http_1_0) {
    if (!EqualsIgnoreCase(expect, "100-continue")) {
      return Refuse(ErrorReply(417, "ExpectationFailedException",
                               "the only expectation that can be met is `100-continue`"));
    }
    if (found_.route == nullptr) return Refuse(std::move(found_.refusal));  // the client keeps its body
    expects_continue_ = true;
  }
  return Got::kRequest;
}

/// The usual case without a coroutine: no body, or one that came with the header.
bool Connection::BodyIsBuffered() {
  if (request_.chunked) return false;
  const std::size_t length = request_.content_length.value_or(0);
  if (length == 0) return true;
  if (buffer_.size() < length) return false;
  request_.body = Buffer(length);
  std::memcpy(request_.body.data(), buffer_.data().data(), length);
  buffer_.consume(length);
  bytes_in_ += length;
  return true;
}

Connection::Awaitable<Connection::Got> Connection::ReadBody() {
  SetPhase(Phase::kBody, SteadyClock::now() + limits_.body_timeout);
  if (expects_continue_ && buffer_.size() == 0) {
    const bool sent = co_await SendContinue();
    if (!sent) co_return Got::kNothing;
  }
  if (request_.chunked) {
    const Got got = co_await ReadChunked();
    co_return got;
  }
  const std::size_t length = *request_.content_length;
  try {
    request_.body = Buffer(length);
  } catch (const std::bad_alloc&) {
    co_return Refuse(ErrorReply(Status{Code::kResourceExhausted, "there is no memory for the request body"}));
  }
  const std::size_t have = buffer_.size();
  std::memcpy(request_.body.data(), buffer_.data().data(), have);
  buffer_.consume(have);
  // The rest goes straight to where it stays.
  const asio::mutable_buffer rest(request_.body.data() + have, length - have);
  boost::system::error_code error;
  auto token = asio::redirect_error(kAwait, error);
  const std::size_t read = co_await asio::async_read(socket_, rest, token);
  bytes_in_ += have + read;
  if (closing_) co_return Got::kNothing;
  if (error) {
    if (overdue_) co_return Overdue("the request body", limits_.body_timeout, "body_timeout");
    if (error != asio::error::eof) co_return Got::kNothing;
    // The client closed its sending side; it may still read.
    co_return Refuse(ErrorReply(InvalidArgument(fmt::format(
        "the request body ended after {} of the {} bytes that Content-Length says", have + read, length))));
  }
  co_return Got::kRequest;
}

Connection::Awaitable<Connection::Got> Connection::ReadChunked() {
  boost::system::error_code error;
  for (;;) {
    if (buffer_.size() > 0) {
      const char* data = static_cast<const char*>(buffer_.data().data());
      const auto progress = parser_->PutChunked(data, buffer_.size());
      if (!progress) co_return Refuse(ErrorReply(progress.error()));
      buffer_.consume(progress->used);
      bytes_in_ += progress->used;
      if (progress->done) break;
      if (buffer_.size() >= limits_.max_header_bytes) {
        co_return Refuse(
            ErrorReply(InvalidArgument("a chunk extension or the trailer of the request body is too long")));
      }
    }
    const asio::mutable_buffer room = buffer_.prepare(16 * 1024);
    auto token = asio::redirect_error(kAwait, error);
    const std::size_t read = co_await socket_.async_read_some(room, token);
    buffer_.commit(read);
    if (closing_) co_return Got::kNothing;
    if (error) {
      if (overdue_) co_return Overdue("the request body", limits_.body_timeout, "body_timeout");
      if (error != asio::error::eof) co_return Got::kNothing;
      co_return Refuse(ErrorReply(InvalidArgument("the chunked request body ended before its last chunk")));
    }
  }
  const std::string& body = parser_->chunked_body();
  if (!body.empty()) request_.body = Buffer(std::string_view(body));
  parser_.reset();  // and the memory of the encoded body with it
  co_return Got::kRequest;
}

Connection::Awaitable<bool> Connection::SendContinue() {
  const asio::const_buffer bytes = asio::buffer(kContinue);
  boost::system::error_code error;
  auto token = asio::redirect_error(kAwait, error);
  co_await asio::async_write(socket_, bytes, token);
  co_return !error && !closing_;
}

Connection::Got Connection::Refuse(HttpReply reply) {
  reply_ = std::move(reply);
  reply_.close = true;  // what follows on this connection cannot be trusted to be a request
  if (request_.request_id.empty()) AppendRequestId(request_.request_id);
  return Got::kRefusal;
}

Connection::Got Connection::Overdue(std::string_view what, std::chrono::milliseconds limit,
                                    std::string_view setting) {
  return Refuse(ErrorReply(
      Status{Code::kReadTimeout, fmt::format("{} was not complete within {} ms ({})", what, limit.count(), setting)}));
}

// --- answering -------------------------------------------------------------------------------------------------

/// Runs the route. False: the answer comes later.
bool Connection::StartAnswer() {
  ticket_.reset();
  wake_ = Wake::kAnswered;
  if (found_.route == nullptr) {
    reply_ = std::move(found_.refusal);
    return true;
  }
  try {
    if (found_.route->answer) {
      reply_ = found_.route->answer(request_);
      return true;
    }
    ticket_ = std::make_shared<Ticket>();
    ticket_->loop = loop_.shared_from_this();
    ticket_->connection = this;
    ticket_->deadline = found_.route->start(request_, ReplySender(ticket_));
  } catch (const std::exception& error) {
    LogError("{} {} failed: {}", request_.method_text, request_.target, error.what());
    ticket_.reset();
    reply_ = ErrorReply(Internal("the server failed to answer this request; its log says why"));
    return true;
  }
  if (ticket_->answered) return true;
  ticket_->suspended = true;
  SetPhase(Phase::kWaiting, ticket_->deadline);
  return false;
}

/// The one bridge between this coroutine and whatever wakes it: Resume, Expire, ClientGone, Close.
Connection::Awaitable<void> Connection::Suspend() {
  return asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(
      [this](auto handler) { resume_ = std::move(handler); }, kAwait);
}

void Connection::Resume() {
  UniqueFunction<void()> resume = std::exchange(resume_, nullptr);
  if (!resume) return;
  deadline_ = TimePoint::max();
  resume();  // may end this connection
}

void Connection::FinishAnswer() {
  if (!ticket_) return;
  const std::shared_ptr<Ticket> ticket = std::move(ticket_);
  ticket->connection = nullptr;
  if (wake_ == Wake::kGone) {
    ticket->cancelled.store(true, std::memory_order_relaxed);
    broken_ = true;
    Log(499, SteadyClock::now());
    return;
  }
  if (wake_ == Wake::kDeadline) {
    ticket->cancelled.store(true, std::memory_order_relaxed);
    const auto limit =
        std::chrono::duration_cast<std::chrono::milliseconds>(ticket->deadline - request_.arrival);
    reply_ = ErrorReply(
        Status{Code::kDeadlineExceeded,
               fmt::format("the answer was not ready within the limit of {} ms; the header X-Request-Timeout-Ms or "
                           "the model's response_timeout changes it", limit.count())});
    return;
  }
  try {
    reply_ = ticket->make();
  } catch (const std::exception& error) {
    LogError("{} {} failed: {}", request_.method_text, request_.target, error.what());
    reply_ = ErrorReply(Internal("the server failed to answer this request; its log says why"));
  }
}

// --- writing ---------------------------------------------------------------------------------------------------

/// True: the connection stays open for another request.
bool Connection::SerializeAndTryWrite() {
  const bool close = reply_.close || !request_.keep_alive || listener_->draining.load(std::memory_order_relaxed);
  out_.clear();
  AppendHead(out_, reply_, request_.request_id, reply_.body.size(), close, request_.http_1_0);
  if (request_.method == Method::kHead) reply_.body.clear();
  // Most answers fit into the socket's buffer: then this call is all, without a round through the io_context.
  boost::system::error_code error;
  const auto pieces = Pieces(out_, reply_.body, 0);
  written_ = socket_.write_some(pieces, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) broken_ = true;
  listener_->metrics.CountHttp(reply_.status);
  return !close && !broken_;
}

Connection::Awaitable<bool> Connection::WriteRest() {
  SetPhase(Phase::kWrite, SteadyClock::now() + limits_.write_timeout);
  const auto rest = Pieces(out_, reply_.body, written_);
  boost::system::error_code error;
  auto token = asio::redirect_error(kAwait, error);
  co_await asio::async_write(socket_, rest, token);
  co_return !error && !closing_;
}

/// Closing with unread bytes would send a reset, which can destroy the answer before the client has read it.
Connection::Awaitable<void> Connection::Linger() {
  boost::system::error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  SetPhase(Phase::kLinger, SteadyClock::now() + limits_.linger_timeout);
  buffer_.consume(buffer_.size());
  std::size_t left = kLingerBytes;
  while (!error && !closing_ && !overdue_ && left > 0) {
    const asio::mutable_buffer room = buffer_.prepare(kReadAhead);
    auto token = asio::redirect_error(kAwait, error);
    const std::size_t read = co_await socket_.async_read_some(room, token);
    left -= std::min(left, read);
  }
}

void Connection::Log(int status, TimePoint now) const {
  if (!AccessLogEnabled() || refused_) return;
  AccessRecord record;
  record.remote = peer_;
  record.method = request_.method_text;
  record.target = request_.target;
  record.http_1_0 = request_.http_1_0;
  record.status = status;
  // Without a header there is no arrival.
  if (!request_.method_text.empty()) record.duration = now - request_.arrival;
  record.bytes_in = bytes_in_;
  record.bytes_out = status == 499 ? 0 : out_.size() + reply_.body.size();
  record.request_id = request_.request_id;
  record.model = request_.PathParameter("model");
  record.model_version = request_.PathParameter("version");
  WriteAccessLog(record);
}

// --- what the loop does to it ----------------------------------------------------------------------------------

void Connection::SetPhase(Phase phase, TimePoint deadline) {
  phase_ = phase;
  deadline_ = deadline;
  overdue_ = false;
}

void Connection::Expire() {
  if (deadline_ > SteadyClock::now()) return;  // something woke it since the sweep looked
  overdue_ = true;
  deadline_ = TimePoint::max();
  if (phase_ == Phase::kWaiting) {
    wake_ = Wake::kDeadline;
    Resume();
    return;
  }
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Connection::ClientGone() {
  if (phase_ != Phase::kWaiting) return;
  wake_ = Wake::kGone;
  Resume();
}

void Connection::Close() {
  closing_ = true;
  if (phase_ == Phase::kWaiting) {
    ClientGone();
    return;
  }
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void Connection::CloseIfIdle() {
  boost::system::error_code ignored;
  if (phase_ == Phase::kIdle && socket_.available(ignored) == 0) socket_.cancel(ignored);
}

}  // namespace serve
