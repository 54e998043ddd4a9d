// The reading half of a connection: header, body, and what is wrong with them.
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/base/random_id.h"
#include "serve/http/connection.h"

namespace serve {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kReadAhead = 4096;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

/// In the form of every error, and with TorchServe's `status`.
HttpReply OnlyHttps() {
  constexpr std::string_view kText = "this listener speaks HTTPS only; use https:// in the URL";
  HttpReply reply = ErrorReply(403, "HttpsRequiredException", kText);
  reply.body.insert(reply.body.size() - 3, fmt::format(",\n  \"status\": \"{}\"", kText));
  return reply;
}

}  // namespace

/// False: there is no connection to serve.
Connection::Awaitable<bool> Connection::Handshake() {
  const TimePoint end = SteadyClock::now() + limits_.header_timeout;
  SetPhase(Phase::kIdle, end);
  boost::system::error_code error;
  const int first = co_await stream_.Peek(error);
  if (first < 0 || closing_) co_return false;  // a load balancer that only looks whether the port is open
  SetPhase(Phase::kHandshake, end);
  if (first != Stream::kTlsHandshake) {
    listener_->metrics.tls_handshake_failures.Add();
    plain_on_tls_ = true;
    co_return true;
  }
  const int socket = stream_.socket().native_handle();
  TlsSession session = listener_->tls.keys->NewSession(socket, listener_->tls.client_certificate);
  if (session == nullptr) {
    LogError("no TLS for {}: there is no memory", peer_);
    co_return false;
  }
  co_await stream_.StartTls(std::move(session), error);
  if (!error && !closing_) {
    SetPhase(Phase::kIdle, SteadyClock::now() + limits_.idle_timeout);
    co_return true;
  }
  listener_->metrics.tls_handshake_failures.Add();
  LogDebug("the TLS handshake with {} failed: {}", peer_,
           overdue_ ? "it took too long (header_timeout_ms)" : stream_.tls_failure());
  if (!overdue_ && !closing_) co_await Linger();  // the client reads the alert, not a reset
  co_return false;
}

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
  if (listener_->tracer != nullptr) trace_ = RequestTrace();
  bytes_in_ = 0;
  sent_ = 0;
  scanned_ = 0;
  boost::system::error_code error;
  bool fresh = true;  // nothing of this request was seen
  for (;;) {
    if (fresh && buffer_.size() >= 2 && std::memcmp(buffer_.data().data(), "\r\n", 2) == 0) {
      buffer_.consume(2);  // some clients send an empty line after a body; RFC 9112 2.2
    }
    if (buffer_.size() > 0) {
      if (plain_on_tls_) co_return Refuse(OnlyHttps());
      if (*static_cast<const unsigned char*>(buffer_.data().data()) == Stream::kTlsHandshake) {
        co_return Refuse(
            ErrorReply(InvalidArgument("this listener speaks plain HTTP; the client started TLS")));
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
    } else if (listener_->draining.load(std::memory_order_relaxed) && !stream_.HasInput()) {
      co_return Got::kNothing;
    }
    const asio::mutable_buffer room = RoomToRead();
    const std::size_t read = co_await stream_.ReadSome(room, error);
    buffer_.commit(read);
    if (closing_) co_return Got::kNothing;
    if (error) {
      if (overdue_ && phase_ == Phase::kHeader) {
        co_return Overdue("the request header", limits_.header_timeout, "header_timeout_ms");
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
    AppendRandomId(request_.request_id);
  }
  if (listener_->tracer != nullptr) BeginTrace();
  found_ = listener_->router.Find(request_);
  return CheckBody();
}

Connection::Got Connection::CheckBody() {
  if (request_.content_length.value_or(0) > limits_.max_body_bytes) {
    return Refuse(ErrorReply(Status{
        Code::kPayloadTooLarge,
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
  const std::size_t read = co_await stream_.ReadAll(rest, error);
  bytes_in_ += have + read;
  if (closing_) co_return Got::kNothing;
  if (error) {
    if (overdue_) co_return Overdue("the request body", limits_.body_timeout, "body_timeout_ms");
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
    const std::size_t read = co_await stream_.ReadSome(room, error);
    buffer_.commit(read);
    if (closing_) co_return Got::kNothing;
    if (error) {
      if (overdue_) co_return Overdue("the request body", limits_.body_timeout, "body_timeout_ms");
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
  const Stream::Pieces bytes{asio::buffer(kContinue), asio::const_buffer()};
  boost::system::error_code error;
  co_await stream_.WriteAll(bytes, error);
  co_return !error && !closing_;
}

Connection::Got Connection::Refuse(HttpReply reply) {
  reply_ = std::move(reply);
  reply_.close = true;  // what follows on this connection cannot be trusted to be a request
  if (request_.request_id.empty()) AppendRandomId(request_.request_id);
  return Got::kRefusal;
}

Connection::Got Connection::Overdue(std::string_view what, std::chrono::milliseconds limit,
                                    std::string_view setting) {
  return Refuse(ErrorReply(Status{Code::kReadTimeout, fmt::format("{} was not complete within {} ms ({})",
                                                                  what, limit.count(), setting)}));
}

}  // namespace serve
