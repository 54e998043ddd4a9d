// The floor to compare with: what Boost.Beast alone does, with callbacks and nothing around it. Every request
// is answered with its own body, or with a short JSON text when it has none.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(tcp::socket socket) : socket_(std::move(socket)) {}

  tcp::socket::executor_type executor() { return socket_.get_executor(); }

  void Read() {
    request_ = {};
    http::async_read(socket_, buffer_, request_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->Write();
                     });
  }

 private:
  void Write() {
    response_ = {};
    response_.result(http::status::ok);
    response_.version(request_.version());
    response_.set(http::field::content_type, "application/json");
    response_.body() =
        request_.body().empty() ? "{\n  \"status\": \"Healthy\"\n}\n" : std::move(request_.body());
    response_.keep_alive(request_.keep_alive());
    response_.prepare_payload();
    http::async_write(socket_, response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (!error && self->response_.keep_alive()) self->Read();
    });
  }

  tcp::socket socket_;
  beast::flat_buffer buffer_;
  http::request<http::string_body> request_;
  http::response<http::string_body> response_;
};

class Server {
 public:
  Server(std::uint16_t port, int threads)
      : contexts_(static_cast<std::size_t>(threads)),
        acceptor_(Make(0), {asio::ip::make_address("127.0.0.1"), port}) {
    for (std::size_t i = 1; i < contexts_.size(); ++i) Make(i);
  }

  void Run() {
    std::printf("%d\n", acceptor_.local_endpoint().port());
    std::fflush(stdout);
    Accept();
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < contexts_.size(); ++i) {
      others.emplace_back([context = contexts_[i].get()] {
        const auto work = asio::make_work_guard(*context);
        context->run();
      });
    }
    contexts_[0]->run();
    for (std::thread& other : others) other.join();
  }

 private:
  asio::io_context& Make(std::size_t i) {
    contexts_[i] = std::make_unique<asio::io_context>(1);
    return *contexts_[i];
  }

  void Accept() {
    asio::io_context& target = *contexts_[next_++ % contexts_.size()];
    acceptor_.async_accept(target, [this](beast::error_code error, tcp::socket socket) {
      if (!error) {
        socket.set_option(tcp::no_delay(true));
        const auto session = std::make_shared<Session>(std::move(socket));
        asio::post(session->executor(), [session] { session->Read(); });
      }
      Accept();
    });
  }

  std::vector<std::unique_ptr<asio::io_context>> contexts_;
  tcp::acceptor acceptor_;
  std::size_t next_ = 0;
};

}  // namespace

// beast_echo --port 0 --threads 1: prints the port it listens on.
int main(int count, char** arguments) {
  std::uint16_t port = 0;
  int threads = 1;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string flag = arguments[i];
    const int value = std::stoi(arguments[i + 1]);
    if (flag == "--port") port = static_cast<std::uint16_t>(value);
    if (flag == "--threads") threads = value;
  }
  Server(port, threads).Run();
}
