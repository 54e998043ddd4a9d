#pragma once

#include <arpa/inet.h>
#include <atomic>
#include <functional>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace serve {

/// A server on a port that the kernel chose: reads requests with Content-Length one at a time and sends what
/// `answer` says about the n-th of them (from 0, over all connections); an empty text closes the connection
/// without an answer.
class TinyServer {
 public:
  using Answer = std::function<std::string(int n, const std::string& body)>;

  explicit TinyServer(Answer answer)
      : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 64);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::jthread([this] { Accept(); });
  }

  ~TinyServer() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const int fd : accepted_) shutdown(fd, SHUT_RDWR);
    connections_.clear();
    for (const int fd : accepted_) close(fd);
    close(listener_);
  }

  [[nodiscard]] std::string port() const { return std::to_string(port_); }
  [[nodiscard]] int requests() const { return requests_; }

 private:
  void Accept() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      accepted_.push_back(fd);
      connections_.emplace_back([this, fd] { Serve(fd); });
    }
  }

  void Serve(int fd) {
    std::string bytes;
    while (true) {
      const std::size_t head = bytes.find("\r\n\r\n");
      const std::size_t field = bytes.find("Content-Length: ");
      const std::size_t length = field < head ? std::stoul(bytes.substr(field + 16, 12)) : 0;
      if (head != std::string::npos && bytes.size() >= head + 4 + length) {
        const std::string text = answer_(requests_++, bytes.substr(head + 4, length));
        if (text.empty()) break;
        send(fd, text.data(), text.size(), MSG_NOSIGNAL);
        if (text.find("Connection: close") != std::string::npos) break;
        bytes.erase(0, head + 4 + length);
        continue;
      }
      char buffer[4096];
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got <= 0) break;
      bytes.append(buffer, static_cast<std::size_t>(got));
    }
    shutdown(fd, SHUT_RDWR);
  }

  Answer answer_;
  int listener_;
  int port_ = 0;
  std::atomic<int> requests_ = 0;
  std::vector<int> accepted_;              // written by the acceptor alone until it is joined
  std::vector<std::jthread> connections_;  // the same
  std::jthread acceptor_;
};

}  // namespace serve
