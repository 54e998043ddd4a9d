// Our HTTP layer with nothing behind it: the same answers as beast_echo, so that the two can be compared.
// GET /ping answers at once; POST /echo sends the body back; POST /later does so from another thread.
#include <cstdint>
#include <cstdio>
#include <pthread.h>
#include <signal.h>
#include <string>

#include <boost/asio/thread_pool.hpp>

#include "serve/http/io_threads.h"
#include "serve/http/listener.h"

// http_floor --port 0 --threads 1: prints the port it listens on, runs until SIGINT or SIGTERM.
int main(int count, char** arguments) {
  std::uint16_t port = 0;
  std::size_t threads = 1;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string flag = arguments[i];
    const int value = std::stoi(arguments[i + 1]);
    if (flag == "--port") port = static_cast<std::uint16_t>(value);
    if (flag == "--threads") threads = static_cast<std::size_t>(value);
  }
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGINT);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  using namespace serve;
  const auto echo = [](HttpRequest& request) {
    HttpReply reply;
    reply.body = request.body.view();
    return reply;
  };
  boost::asio::thread_pool pool(1);
  Metrics metrics(false);
  Router router;
  router.Inline(Method::kGet, "/ping", [](HttpRequest&) {
    HttpReply reply;
    reply.body = "{\n  \"status\": \"Healthy\"\n}\n";
    return reply;
  });
  router.Inline(Method::kPost, "/echo", echo);
  router.Blocking(Method::kPost, "/later", echo, pool);

  IoThreads io(threads);
  const auto listener =
      Listener::Open(io, "127.0.0.1", port, "--port", std::move(router), HttpLimits(), metrics);
  if (!listener) {
    std::fprintf(stderr, "%s\n", listener.error().message.c_str());
    return 1;
  }
  std::printf("%d\n", (*listener)->port());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&stop, &signal);
  (*listener)->Drain(SteadyClock::now() + std::chrono::seconds(5));
  pool.join();
}
