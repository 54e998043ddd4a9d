#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "serve/http/io_loop.h"
#include "serve/security/tls_keys.h"

namespace serve {

/// The bytes of one connection: over TCP (or a Unix socket) alone, or over TLS once StartTls was called.
///
/// Cost:    without TLS each call is one branch and then Asio's own operation: no allocation, no copy of its
/// own. TLS:     OpenSSL works on the socket itself; where it can go no further, Asio waits for the socket. A
/// client
///          that always has more to read lets other connections have their turn now and then.
/// Cancel:  cancel() of the socket ends whatever waits. Errors are Asio's: `eof` when the client is done.
/// Threads: its loop's thread only. The socket does not block.
class Stream {
 public:
  using Executor = IoLoop::Executor;
  using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, Executor>;
  using Error = boost::system::error_code;
  using Pieces = std::array<boost::asio::const_buffer, 2>;
  template <class T>
  using Awaitable = boost::asio::awaitable<T, Executor>;
  /// What a TLS connection begins with, and no HTTP request.
  static constexpr unsigned char kTlsHandshake = 0x16;

  explicit Stream(Socket socket) : socket_(std::move(socket)) {}

  Socket& socket() { return socket_; }

  /// The first byte that the client sends; it stays to be read. -1: there was none, `error` says why.
  Awaitable<int> Peek(Error& error);
  /// From here on everything goes through `session`, which belongs to this socket.
  Awaitable<void> StartTls(TlsSession session, Error& error);
  /// Why TLS failed, for people.
  [[nodiscard]] const std::string& tls_failure() const { return failure_; }

  /// What there is, at least one byte.
  Awaitable<std::size_t> ReadSome(boost::asio::mutable_buffer room, Error& error) {
    if (tls_ == nullptr) [[likely]]
      return socket_.async_read_some(room, Token(error));
    return ReadTls(room, false, error);
  }
  /// Until `room` is full.
  Awaitable<std::size_t> ReadAll(boost::asio::mutable_buffer room, Error& error) {
    if (tls_ == nullptr) [[likely]] {
      // As much as the socket has: Asio by itself asks for 64 KB at a time.
      const auto everything = [](const Error& failed, std::size_t) {
        return failed ? 0 : std::numeric_limits<std::size_t>::max();
      };
      return boost::asio::async_read(socket_, room, everything, Token(error));
    }
    return ReadTls(room, true, error);
  }
  /// As much as goes out without waiting; `would_block` when something is left.
  std::size_t TryWrite(const Pieces& pieces, Error& error) {
    if (tls_ == nullptr) [[likely]] {
      if (pieces[1].size() == 0) return socket_.write_some(pieces[0], error);  // send costs less than sendmsg
      return socket_.write_some(pieces, error);
    }
    return TryWriteTls(pieces, error);
  }
  /// Everything. After a TryWrite that left something, it goes on with exactly that.
  Awaitable<std::size_t> WriteAll(const Pieces& pieces, Error& error) {
    if (tls_ == nullptr) [[likely]]
      return boost::asio::async_write(socket_, pieces, Token(error));
    return WriteTls(pieces, error);
  }

  /// Whether the client has sent something that was not read.
  bool HasInput();
  /// Tells the client that nothing more comes, as TLS wants it; what it still sends is read from the socket.
  void EndTls();

 private:
  using AwaitToken = boost::asio::redirect_error_t<boost::asio::use_awaitable_t<Executor>>;
  static AwaitToken Token(Error& error) { return {boost::asio::use_awaitable_t<Executor>(), error}; }

  Awaitable<std::size_t> ReadTls(boost::asio::mutable_buffer room, bool all, Error& error);
  std::size_t TryWriteTls(Pieces pieces, Error& error);
  Awaitable<std::size_t> WriteTls(Pieces pieces, Error& error);
  /// `would_block` when the session only waits for the socket; `wanted_` says for what.
  Error Failure(int result);

  Socket socket_;
  TlsSession tls_;  // null: plain
  Socket::wait_type wanted_ = Socket::wait_read;
  std::size_t turn_ = 0;  // what was done since other connections had their turn, in bytes
  bool broken_ = false;   // TLS can say nothing more
  std::string failure_;
};

}  // namespace serve
