#include "tests/serve/http/http_server.h"

#include <arpa/inet.h>
#include <charconv>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace serve {

RawClient::RawClient(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{10, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error("cannot connect to the test server");
  }
}

RawClient::~RawClient() { Close(); }

void RawClient::Close() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
}

void RawClient::CloseSending() { shutdown(socket_, SHUT_WR); }

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

bool RawClient::Fill() {
  char bytes[16384];
  const ssize_t got = recv(socket_, bytes, sizeof(bytes), 0);
  if (got <= 0) return false;
  ahead_.append(bytes, static_cast<std::size_t>(got));
  return true;
}

RawClient::Reply RawClient::Read(bool with_body) {
  Reply reply;
  std::size_t end = 0;
  while ((end = ahead_.find("\r\n\r\n")) == std::string::npos) {
    if (!Fill()) return reply;
  }
  reply.head = ahead_.substr(0, end + 2);
  ahead_.erase(0, end + 4);
  std::size_t length = 0;
  if (const std::size_t at = reply.head.find("\r\ncontent-length: "); at != std::string::npos) {
    const char* digits = reply.head.data() + at + 18;
    std::from_chars(digits, reply.head.data() + reply.head.size(), length);
  }
  while (with_body && ahead_.size() < length) {
    if (!Fill()) return reply;
  }
  if (with_body) {
    reply.body = ahead_.substr(0, length);
    ahead_.erase(0, length);
  }
  std::from_chars(reply.head.data() + 9, reply.head.data() + 12, reply.status);
  return reply;
}

std::string RawClient::Rest() {
  while (Fill()) {
  }
  return std::exchange(ahead_, {});
}

bool RawClient::Ended() {
  if (!ahead_.empty()) return false;
  char byte = 0;
  return recv(socket_, &byte, 1, 0) == 0;
}

std::string Get(std::string_view path, std::string_view fields) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", path, fields);
}

std::string Post(std::string_view path, std::string_view body, std::string_view fields) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{}\r\n{}", path, body.size(),
                     fields, body);
}

HttpServer::HttpServer(HttpLimits limits, std::size_t threads, ListenerTls tls)
    : io(std::make_unique<IoThreads>(threads)) {
  const auto echo = [](HttpRequest& request) {
    HttpReply reply;
    reply.body = request.body.view();
    return reply;
  };
  Router router;
  router.Inline(Method::kGet, "/ping", [](HttpRequest&) {
    HttpReply reply;
    reply.body = "pong";
    return reply;
  });
  router.Inline(Method::kPost, "/echo", echo);
  router.Inline(Method::kPost, "/thrower",
                [](HttpRequest&) -> HttpReply { throw std::runtime_error("as the test wants it"); });
  router.Blocking(Method::kPost, "/blocking", echo, pool);
  router.Async(Method::kPost, "/refused", [](HttpRequest&, ReplySender sender) {
    std::move(sender).Send(ErrorReply(Status{Code::kResourceExhausted, "full"}));
    return TimePoint::max();
  });
  router.Async(Method::kPost, "/later", [this](HttpRequest& request, ReplySender sender) {
    TimePoint deadline = TimePoint::max();
    const std::string wanted(request.Header("x-deadline-ms"));
    if (!wanted.empty()) deadline = request.arrival + std::chrono::milliseconds(std::stoi(wanted));
    const std::lock_guard lock(mutex_);
    auto cancelled = sender.cancelled();
    later_.push_back({std::move(sender), std::move(cancelled), std::string(request.body.view())});
    arrived_.notify_all();
    return deadline;
  });
  auto opened =
      Listener::Open(*io, "127.0.0.1", 0, "--test-address", std::move(router), limits, metrics, tls);
  if (!opened) throw std::runtime_error(opened.error().message);
  listener = std::move(*opened);
}

HttpServer::~HttpServer() {
  listener.reset();
  pool.join();
}

HttpServer::Later HttpServer::Take() {
  std::unique_lock lock(mutex_);
  if (!arrived_.wait_for(lock, std::chrono::seconds(10), [this] { return !later_.empty(); })) {
    throw std::runtime_error("no request came to /later");
  }
  Later first = std::move(later_.front());
  std::vector<Later> rest;  // a sender is moved, never assigned
  for (std::size_t i = 1; i < later_.size(); ++i) rest.push_back(std::move(later_[i]));
  later_.swap(rest);
  return first;
}

}  // namespace serve
