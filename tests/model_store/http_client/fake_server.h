#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace serve {

/// A tiny HTTP server on a free loopback port: one request a connection, answered by a function, one after
/// the other.
class FakeServer {
 public:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  using Response = boost::beast::http::response<boost::beast::http::string_body>;
  using Answer = std::function<Response(const Request&)>;

  explicit FakeServer(Answer answer)
      : answer_(std::move(answer)), acceptor_(context_, {boost::asio::ip::make_address("127.0.0.1"), 0}) {
    thread_ = std::thread([this] { Run(); });
  }
  ~FakeServer() {
    stop_ = true;
    boost::system::error_code ignored;
    boost::asio::ip::tcp::socket wake(context_);
    wake.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }
  /// `POST /models?url=x` of every request so far.
  [[nodiscard]] std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const Request& request : requests()) {
      lines.push_back(std::string(request.method_string()) + " " + std::string(request.target()));
    }
    return lines;
  }
  [[nodiscard]] std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  static Response Json(int status, std::string body) {
    Response response(boost::beast::http::int_to_status(static_cast<unsigned>(status)), 11);
    response.set("content-type", "application/json");
    response.body() = std::move(body);
    return response;
  }

 private:
  void Run() {
    while (true) {
      boost::system::error_code error;
      boost::asio::ip::tcp::socket socket(context_);
      acceptor_.accept(socket, error);
      if (stop_) return;
      boost::beast::flat_buffer buffer;
      Request request;
      boost::beast::http::read(socket, buffer, request, error);
      if (error) continue;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      Response response = answer_(request);
      response.keep_alive(false);
      response.prepare_payload();
      boost::beast::http::write(socket, response, error);
      socket.shutdown(boost::asio::ip::tcp::socket::shutdown_both, error);
    }
  }

  const Answer answer_;
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;  // guards requests_
  std::vector<Request> requests_;
  std::thread thread_;
};

/// A port on which nobody listens: taken, and given back.
inline std::string DeadUrl() {
  boost::asio::io_context context;
  const boost::asio::ip::tcp::acceptor acceptor(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  return "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
}

}  // namespace serve
