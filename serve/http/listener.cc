#include "serve/http/listener.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <filesystem>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"

namespace serve {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr asio::use_awaitable_t<IoLoop::Executor> kAwait;
constexpr int kBacklog = 1024;
constexpr std::size_t kMostRefusals = 64;  // clients at once that are told why; others are just closed

/// Logs what must not happen: nothing else would tell of it.
void LogFailure(const std::exception_ptr& failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    LogError("a connection ended by an exception: {}", error.what());
  }
}

}  // namespace

Listener::Listener(const std::vector<std::shared_ptr<IoLoop>>& loops, Router router, const HttpLimits& limits,
                   Metrics& metrics, ListenerTls tls, const Tracer* tracer)
    : loops_(loops),
      state_(std::make_shared<ListenerState>(std::move(router), limits, metrics, tls, tracer)),
      acceptor_(loops_[0]->context()),
      pause_(loops_[0]->context()) {}

Result<std::unique_ptr<Listener>> Listener::Open(IoThreads& threads, std::string_view host,
                                                 std::uint16_t port, std::string_view setting, Router router,
                                                 const HttpLimits& limits, Metrics& metrics, ListenerTls tls,
                                                 const Tracer* tracer) {
  std::unique_ptr<Listener> listener(
      new Listener(threads.loops(), std::move(router), limits, metrics, tls, tracer));
  const Status bound = listener->Bind(host, port, setting);
  if (!bound.ok()) return bound;
  listener->Start();
  return listener;
}

Status Listener::BindPath(const std::string& path, std::string_view setting) {
  const auto failed = [&](std::string_view reason) {
    return Status{
        Code::kUnavailable,
        fmt::format("cannot listen on unix:{}: {}; choose another address with {}", path, reason, setting)};
  };
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return failed(fmt::format("the path is longer than {} bytes", sizeof(sockaddr_un::sun_path) - 1));
  }
  const asio::local::stream_protocol::endpoint endpoint(path);
  boost::system::error_code error;
  std::error_code ignored;
  if (std::filesystem::is_socket(path, ignored)) {
    asio::local::stream_protocol::socket probe(loops_[0]->context());
    probe.connect(endpoint, error);
    if (!error) return failed("address in use");
    std::filesystem::remove(path, ignored);  // of a process that is gone
  }
  acceptor_.open(asio::local::stream_protocol(), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (error == asio::error::address_in_use) return failed("there is a file that is no socket");
  if (!error) {
    path_ = path;
    acceptor_.listen(kBacklog, error);
  }
  if (error) return failed(error.message());
  return {};
}

Status Listener::Bind(std::string_view host, std::uint16_t port, std::string_view setting) {
  if (host.starts_with('/')) return BindPath(std::string(host), setting);
  const auto failed = [&](std::string_view reason) {
    const bool ipv6 = host.find(':') != std::string_view::npos;
    return Status{Code::kUnavailable,
                  fmt::format("cannot listen on {}://{}{}{}:{}: {}; choose another address with {}", scheme(),
                              ipv6 ? "[" : "", host, ipv6 ? "]" : "", port, reason, setting)};
  };
  boost::system::error_code error;
  const std::string name(host == "localhost" ? "127.0.0.1" : host);
  endpoint_ = tcp::endpoint(asio::ip::make_address(name, error), port);
  if (error) {
    tcp::resolver resolver(loops_[0]->context());
    const auto found = resolver.resolve(name, "", error);
    if (error || found.empty()) return failed("the host name is unknown");
    endpoint_ = tcp::endpoint(found.begin()->endpoint().address(), port);
  }
  acceptor_.open(endpoint_.protocol(), error);
  if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint_, error);
  if (!error) acceptor_.listen(kBacklog, error);
  if (error == asio::error::address_in_use) return failed("address in use");
  if (error == asio::error::access_denied)
    return failed("permission denied (ports below 1024 need more rights)");
  if (error == boost::system::errc::address_not_available) return failed("this machine has no such address");
  if (error) return failed(error.message());
  // Only the port can differ from what was asked for.
  const auto bound = acceptor_.local_endpoint(error);
  if (error) return failed(error.message());
  std::memcpy(endpoint_.data(), bound.data(), std::min(bound.size(), endpoint_.capacity()));
  return {};
}

std::string Listener::url() const {
  if (!path_.empty()) return "unix:" + path_;
  const std::string host = endpoint_.address().to_string();
  return endpoint_.address().is_v6() ? fmt::format("{}://[{}]:{}", scheme(), host, port())
                                     : fmt::format("{}://{}:{}", scheme(), host, port());
}

void Listener::Start() {
  started_ = true;
  accepting_ = true;
  asio::co_spawn(acceptor_.get_executor(), Accept(),
                 [this, state = state_](const std::exception_ptr& failure) {
                   LogFailure(failure);
                   const std::lock_guard done(state->mutex);
                   accepting_ = false;
                   state->changed.notify_all();
                 });
}

Connection::Awaitable<void> Listener::Accept() {
  boost::system::error_code error;
  auto token = asio::redirect_error(kAwait, error);
  for (std::size_t turn = 0; !stopping_; ++turn) {
    IoLoop& loop = *loops_[turn % loops_.size()];
    const Executor target = loop.context().get_executor();
    Connection::Endpoint peer;
    Connection::Socket socket = co_await acceptor_.async_accept(target, peer, token);
    if (!error) {
      Admit(std::move(socket), peer, loop);
      continue;
    }
    if (stopping_ || error == asio::error::operation_aborted || error == asio::error::bad_descriptor) break;
    if (error == asio::error::connection_aborted) continue;  // it was gone before we took it
    // No descriptor or memory left: the pending connection stays, so trying again at once would spin.
    LogWarning("cannot accept a connection on {}: {}", url(), error.message());
    pause_.expires_after(std::chrono::milliseconds(100));
    co_await pause_.async_wait(token);
  }
}

void Listener::Admit(Connection::Socket socket, const Connection::Endpoint& peer, IoLoop& loop) {
  boost::system::error_code ignored;
  if (path_.empty()) socket.set_option(tcp::no_delay(true), ignored);
  bool refused = false;
  if (state_->open.fetch_add(1) >= state_->limits.max_connections) {
    state_->open.fetch_sub(1);
    state_->metrics.connections_refused.Add();
    if (state_->refused.fetch_add(1) >= kMostRefusals) {
      state_->refused.fetch_sub(1);
      return;  // the socket closes
    }
    refused = true;
  } else {
    state_->metrics.connections.Add(1);
  }
  auto connection = std::make_shared<Connection>(std::move(socket), peer, loop, state_, refused);
  asio::co_spawn(loop.context().get_executor(), Connection::Run(std::move(connection)), LogFailure);
}

void Listener::StopAccepting() {
  std::unique_lock lock(state_->mutex);
  ++stops_;
  asio::post(acceptor_.get_executor(), [this, state = state_] {
    stopping_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    // Under the lock to the end: who waits for this may destroy the listener right after.
    const std::lock_guard done(state->mutex);
    --stops_;
    state->changed.notify_all();
  });
  state_->changed.wait(lock, [this] { return !accepting_ && stops_ == 0; });
}

void Listener::ForEachConnection(void (Connection::*action)()) {
  for (const auto& loop : loops_) {
    asio::post(loop->context(), [loop, state = state_, action] {
      std::vector<std::shared_ptr<Connection>> mine;  // held: one that is closed leaves the list
      for (Connection* connection : loop->connections()) {
        if (connection->listener() == state.get()) mine.push_back(connection->shared_from_this());
      }
      for (const auto& connection : mine) (connection.get()->*action)();
    });
  }
}

bool Listener::Drain(TimePoint deadline) {
  StopAccepting();
  state_->draining = true;
  ForEachConnection(&Connection::CloseIfIdle);
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_until(lock, deadline, [this] { return state_->open.load() == 0; });
}

Listener::~Listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
  if (!started_) return;  // Bind failed, nothing ever ran
  StopAccepting();
  state_->draining = true;
  ForEachConnection(&Connection::Close);
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->open.load() == 0 && state_->refused.load() == 0; });
}

}  // namespace serve
