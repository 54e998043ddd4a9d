#include "serve/http/stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <openssl/err.h>
#include <openssl/ssl.h>

namespace serve {
namespace {

namespace asio = boost::asio;

constexpr asio::use_awaitable_t<IoLoop::Executor> kAwait;
constexpr std::size_t kRecord = 16 * 1024;      // the largest that TLS has
constexpr std::size_t kTurn = 256 * 1024;       // then others have their turn
constexpr std::size_t kCostOfACall = 4 * 1024;  // of a small read, in bytes

void Advance(Stream::Pieces& pieces, std::size_t bytes) {
  for (asio::const_buffer& piece : pieces) {
    const std::size_t here = std::min(bytes, piece.size());
    piece += here;
    bytes -= here;
  }
}

/// The bytes of the next record. Head and body share one: a small answer is then one packet. `room` may hold
/// it.
asio::const_buffer NextRecord(const Stream::Pieces& pieces, std::array<char, kRecord>& room) {
  const auto& [head, body] = pieces;
  if (head.size() == 0) return asio::buffer(body, kRecord);
  if (head.size() >= kRecord || body.size() == 0) return asio::buffer(head, kRecord);
  return asio::buffer(room.data(), asio::buffer_copy(asio::buffer(room), pieces));
}

}  // namespace

Stream::Error Stream::Failure(int result) {
  const int reason = errno;
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      wanted_ = Socket::wait_read;
      return asio::error::would_block;
    case SSL_ERROR_WANT_WRITE:
      wanted_ = Socket::wait_write;
      return asio::error::would_block;
    case SSL_ERROR_ZERO_RETURN:
      failure_ = "the client closed the connection";
      return asio::error::eof;
    case SSL_ERROR_SYSCALL: {
      broken_ = true;
      Error error(reason == 0 ? ECONNRESET : reason, boost::system::system_category());
      failure_ = error.message();
      return error;
    }
    default:
      break;
  }
  broken_ = true;
  const char* text = ERR_reason_error_string(ERR_peek_last_error());
  failure_ = text == nullptr ? "an unknown error of TLS" : text;
  return asio::error::connection_aborted;
}

Stream::Awaitable<int> Stream::Peek(Error& error) {
  auto token = asio::redirect_error(kAwait, error);
  co_await socket_.async_wait(Socket::wait_read, token);
  if (error) co_return -1;
  unsigned char first = 0;
  const asio::mutable_buffer room(&first, 1);
  const std::size_t got = socket_.receive(room, Socket::message_peek, error);
  co_return error || got == 0 ? -1 : first;
}

Stream::Awaitable<void> Stream::StartTls(TlsSession session, Error& error) {
  tls_ = std::move(session);
  for (;;) {
    ERR_clear_error();
    const int result = SSL_accept(tls_.get());
    if (result == 1) {
      error = {};
      co_return;
    }
    error = Failure(result);
    if (error != asio::error::would_block) break;
    auto token = asio::redirect_error(kAwait, error);
    co_await socket_.async_wait(wanted_, token);
    if (error) break;
  }
  broken_ = true;
}

Stream::Awaitable<std::size_t> Stream::ReadTls(asio::mutable_buffer room, bool all, Error& error) {
  error = {};
  auto token = asio::redirect_error(kAwait, error);
  std::size_t total = 0;
  while (room.size() > 0 && (all || total == 0)) {
    if (turn_ > kTurn) {
      turn_ = 0;
      const Executor executor = socket_.get_executor();
      co_await asio::post(executor, kAwait);
    }
    std::size_t read = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(tls_.get(), room.data(), room.size(), &read);
    turn_ += read + kCostOfACall;
    if (result == 1) {
      total += read;
      room += read;
      continue;
    }
    error = Failure(result);
    if (error != asio::error::would_block) break;
    turn_ = 0;
    co_await socket_.async_wait(wanted_, token);
    if (error) break;
  }
  co_return total;
}

std::size_t Stream::TryWriteTls(Pieces pieces, Error& error) {
  error = {};
  std::array<char, kRecord> room;
  std::size_t total = 0;
  while (pieces[0].size() + pieces[1].size() > 0) {
    // After `would_block` the same call comes again with the same bytes, as OpenSSL wants it.
    const asio::const_buffer record = NextRecord(pieces, room);
    std::size_t written = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(tls_.get(), record.data(), record.size(), &written);
    if (result != 1) {
      error = Failure(result);
      break;
    }
    total += written;
    Advance(pieces, written);
  }
  turn_ += total;
  return total;
}

Stream::Awaitable<std::size_t> Stream::WriteTls(Pieces pieces, Error& error) {
  auto token = asio::redirect_error(kAwait, error);
  std::size_t total = 0;
  for (;;) {
    const std::size_t written = TryWriteTls(pieces, error);
    total += written;
    Advance(pieces, written);
    if (error != asio::error::would_block) break;
    turn_ = 0;
    co_await socket_.async_wait(wanted_, token);
    if (error) break;
  }
  co_return total;
}

bool Stream::HasInput() {
  Error ignored;
  if (tls_ != nullptr && SSL_has_pending(tls_.get()) == 1) return true;
  return socket_.available(ignored) > 0;
}

void Stream::EndTls() {
  if (tls_ == nullptr) return;
  ERR_clear_error();
  if (!broken_) SSL_shutdown(tls_.get());
  tls_.reset();
}

}  // namespace serve
