// What a large body costs at least: each thread receives it into one buffer that it keeps, looks at nothing
// but Content-Length, and answers two bytes. No server can take bodies faster from the same client.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <unordered_map>
#include <vector>

namespace {

constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr std::size_t kRoom = std::size_t{1} << 20;
constexpr std::size_t kHead = 4096;  // requests whose header needs more are refused by closing

/// Bytes of the request whose header stands at `text`; 0: it is not complete, or says no length.
std::size_t RequestSize(const char* text, std::size_t size) {
  const void* end = memmem(text, size, "\r\n\r\n", 4);
  if (end == nullptr) return 0;
  const std::string head(text, static_cast<const char*>(end));
  const char* length = strcasestr(head.c_str(), "\r\ncontent-length:");
  if (length == nullptr) return 0;
  return head.size() + 4 + std::strtoull(length + std::strlen("\r\ncontent-length:"), nullptr, 10);
}

/// False: the connection has ended. `left`: what is still to come of its request.
bool Receive(int fd, std::vector<char>& room, std::size_t& left) {
  for (;;) {
    const ssize_t got = recv(fd, room.data(), left > 0 ? std::min(left, room.size()) : kHead, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    const auto bytes = static_cast<std::size_t>(got);
    if (left == 0) left = RequestSize(room.data(), bytes);
    if (left < bytes) return false;
    left -= bytes;
    if (left == 0 && send(fd, kAnswer, sizeof kAnswer - 1, MSG_NOSIGNAL) < 0) return false;
  }
}

void Serve(int listener) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLEXCLUSIVE;
  wanted.data.fd = listener;
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted);
  std::vector<char> room(kRoom);
  std::unordered_map<int, std::size_t> left;
  for (;;) {
    epoll_event events[64];
    const int count = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd != listener) {
        if (!Receive(fd, room, left[fd])) {
          left.erase(fd);
          close(fd);
        }
        continue;
      }
      wanted.data.fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (wanted.data.fd < 0) continue;
      const int on = 1;
      setsockopt(wanted.data.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      wanted.events = EPOLLIN | EPOLLET;
      epoll_ctl(epoll, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
    }
  }
}

}  // namespace

// body_floor THREADS: prints the port that it listens on and runs until it is killed.
int main(int count, char** words) {
  const int threads = count > 1 ? std::max(1, std::atoi(words[1])) : 1;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, generic, size) != 0 || listen(listener, 128) != 0 ||
      getsockname(listener, generic, &size) != 0) {
    std::perror("body_floor");
    return 1;
  }
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  std::vector<std::jthread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(Serve, listener);
  Serve(listener);
}
