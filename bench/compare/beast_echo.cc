// The floor to compare with: what Boost.Beast alone does, with callbacks and nothing around it. Every request
// is answered with its own body, or with a short JSON text when it has none; with --answer, always with that.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
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
  Session(tcp::socket socket, const std::string& answer) : socket_(std::move(socket)), answer_(answer) {
    buffer_.reserve(64 * 1024);  // else Beast reads large bodies 512 bytes at a time
  }

  tcp::socket::executor_type executor() { return socket_.get_executor(); }

  void Read() {
    parser_.emplace();
    parser_->body_limit(64 * 1024 * 1024);
    http::async_read(socket_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->Write();
                     });
  }

 private:
  void Write() {
    http::request<http::string_body>& request = parser_->get();
    response_ = {};
    response_.result(http::status::ok);
    response_.version(request.version());
    response_.set(http::field::content_type, "application/json");
    if (!answer_.empty()) {
      response_.body() = answer_;
    } else if (!request.body().empty()) {
      response_.body() = std::move(request.body());
    } else {
      response_.body() = "{\n  \"status\": \"Healthy\"\n}\n";
    }
    response_.keep_alive(request.keep_alive());
    response_.prepare_payload();
    http::async_write(socket_, response_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (!error && self->response_.keep_alive()) self->Read();
    });
  }

  tcp::socket socket_;
  const std::string& answer_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::string_body> response_;
};

class Server {
 public:
  Server(std::uint16_t port, int threads, std::string answer)
      : answer_(std::move(answer)),
        contexts_(static_cast<std::size_t>(threads)),
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
        const auto session = std::make_shared<Session>(std::move(socket), answer_);
        asio::post(session->executor(), [session] { session->Read(); });
      }
      Accept();
    });
  }

  const std::string answer_;
  std::vector<std::unique_ptr<asio::io_context>> contexts_;
  tcp::acceptor acceptor_;
  std::size_t next_ = 0;
};

}  // namespace

// beast_echo --port 0 --threads 1 [--answer FILE]: prints the port it listens on.
int main(int count, char** arguments) {
  std::uint16_t port = 0;
  int threads = 1;
  std::string answer;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string flag = arguments[i];
    const std::string value = arguments[i + 1];
    if (flag == "--port") port = static_cast<std::uint16_t>(std::stoi(value));
    if (flag == "--threads") threads = std::stoi(value);
    if (flag == "--answer") {
      std::ifstream file(value, std::ios::binary);
      answer.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  Server(port, threads, std::move(answer)).Run();
}
