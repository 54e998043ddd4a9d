#include "serve/http/connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <sys/socket.h>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/access_log.h"

namespace serve {
namespace {

namespace asio = boost::asio;

constexpr asio::use_awaitable_t<IoLoop::Executor> kAwait;
constexpr std::size_t kLingerBytes = 256 * 1024;
// Many clients read their answer only once they have sent the body that they announced; platforms pass 32
// MiB.
constexpr std::size_t kLingerBody = 64 << 20;
constexpr std::size_t kLingerRead = 64 * 1024;
constexpr std::size_t kSmallBody = 1024;  // copied behind the header, so that both are one piece

std::string PeerText(const Connection::Endpoint& from) {
  asio::ip::tcp::endpoint peer;
  const int family = from.protocol().family();
  if ((family != AF_INET && family != AF_INET6) || from.size() > peer.capacity()) return "127.0.0.1";
  std::memcpy(peer.data(), from.data(), from.size());
  peer.resize(from.size());
  if (peer.address().is_v6()) return fmt::format("/[{}]:{}", peer.address().to_string(), peer.port());
  return fmt::format("/{}:{}", peer.address().to_string(), peer.port());
}

/// The two pieces behind the first `skip` bytes.
std::array<asio::const_buffer, 2> Pieces(const std::string& head, std::string_view body, std::size_t skip) {
  const std::size_t of_head = std::min(skip, head.size());
  const std::size_t of_body = skip - of_head;
  return {asio::const_buffer(head.data() + of_head, head.size() - of_head),
          asio::const_buffer(body.data() + of_body, body.size() - of_body)};
}

}  // namespace

Connection::Connection(Socket socket, const Endpoint& peer, IoLoop& loop,
                       std::shared_ptr<ListenerState> listener, bool refused)
    : stream_(std::move(socket)),
      loop_(loop),
      listener_(std::move(listener)),
      limits_(listener_->limits),
      refused_(refused),
      peer_(PeerText(peer)) {}

Connection::~Connection() {
  if (!refused_) listener_->metrics.connections.Add(-1);
  // Last: whoever waits for this may take the metrics away.
  (refused_ ? listener_->refused : listener_->open).fetch_sub(1);
  if (listener_->draining.load()) {
    const std::lock_guard lock(listener_->mutex);
    listener_->changed.notify_all();
  }
}

Connection::Awaitable<void> Connection::Run(std::shared_ptr<Connection> self) {
  struct Membership {
    explicit Membership(Connection& connection) : connection(connection) {
      connection.loop_.Enter(connection);
    }
    ~Membership() { connection.loop_.Leave(connection); }
    Connection& connection;
  };
  const Membership membership(*self);
  boost::system::error_code ignored;
  self->stream_.socket().non_blocking(true, ignored);
  co_await self->Serve();
  self->stream_.EndTls();
  self->stream_.socket().close(ignored);
}

Connection::Awaitable<void> Connection::Serve() {
  deadline_ = SteadyClock::now() + limits_.idle_timeout;
  bool more = true;
  if (listener_->tls.keys != nullptr) more = co_await Handshake();
  while (more && !closing_) {
    Got got = Got::kRefusal;
    if (refused_) {
      Refuse(ErrorReply(
          Status{Code::kUnavailable, fmt::format("the server has {} open connections, which is its limit "
                                                 "(max_connections); try again later",
                                                 limits_.max_connections)}));
    } else {
      got = co_await ReadHead();
    }
    if (got == Got::kRequest && !BodyIsBuffered()) got = co_await ReadBody();
    if (got == Got::kNothing) break;
    if (got == Got::kRequest) {
      if (!StartAnswer()) co_await Suspend();
      if (AnswersInParts()) {
        more = co_await SendParts();
        if (broken_) break;
        SetPhase(Phase::kIdle, SteadyClock::now() + limits_.idle_timeout);
        if (!more) co_await Linger();
        continue;
      }
      FinishAnswer();
      if (broken_) break;
    }
    more = SerializeAndTryWrite();
    bool written = !broken_;
    if (written && written_ < out_.size() + reply_.body.size()) written = co_await WriteRest();
    const TimePoint now = SteadyClock::now();
    Log(reply_.status, now);
    if (!written) break;
    SetPhase(Phase::kIdle, now + limits_.idle_timeout);
    if (!more) co_await Linger();
  }
}

// --- answering
// -------------------------------------------------------------------------------------------------

/// Runs the route. False: the answer comes later.
bool Connection::StartAnswer() {
  ticket_.reset();
  wake_ = Wake::kAnswered;
  if (found_.route == nullptr) {
    reply_ = std::move(found_.refusal);
    return true;
  }
  const LogTrace log_trace(TracedContext());
  try {
    if (found_.route->answer) {
      reply_ = found_.route->answer(request_);
      return true;
    }
    ticket_ = std::make_shared<Ticket>();
    ticket_->loop = loop_.shared_from_this();
    ticket_->connection = this;
    ticket_->max_unsent = limits_.max_stream_backlog;
    if (listener_->tracer != nullptr) ticket_->trace.emplace().context = trace_.context;
    ticket_->deadline = found_.route->start(request_, ReplySender(ticket_));
  } catch (const std::exception& error) {
    LogError("{} {} failed: {}", request_.method_text, request_.target, error.what());
    ticket_.reset();
    reply_ = ErrorReply(Internal("the server failed to answer this request; its log says why"));
    return true;
  }
  if (ticket_->answered) return true;
  ticket_->suspended = true;
  SetPhase(Phase::kWaiting, ticket_->deadline);
  return false;
}

/// The one bridge between this coroutine and whatever wakes it: Resume, Expire, ClientGone, Close.
Connection::Awaitable<void> Connection::Suspend() {
  return asio::async_initiate<const asio::use_awaitable_t<Executor>, void()>(
      [this](auto handler) { resume_ = std::move(handler); }, kAwait);
}

void Connection::Resume() {
  UniqueFunction<void()> resume = std::exchange(resume_, nullptr);
  if (!resume) return;
  deadline_ = TimePoint::max();
  resume();  // may end this connection
}

void Connection::FinishAnswer() {
  if (!ticket_) return;
  const std::shared_ptr<Ticket> ticket = std::move(ticket_);
  ticket->connection = nullptr;
  if (wake_ == Wake::kGone || wake_ == Wake::kDeadline) KeepTrace(*ticket, false);
  if (wake_ == Wake::kGone) {
    ticket->cancelled.store(true, std::memory_order_relaxed);
    broken_ = true;
    Log(499, SteadyClock::now());
    return;
  }
  if (wake_ == Wake::kDeadline) {
    ticket->cancelled.store(true, std::memory_order_relaxed);
    const auto limit =
        std::chrono::duration_cast<std::chrono::milliseconds>(ticket->deadline - request_.arrival);
    reply_ = ErrorReply(Status{
        Code::kDeadlineExceeded,
        fmt::format("the answer was not ready within the limit of {} ms; the header X-Request-Timeout-Ms or "
                    "the model's response_timeout changes it",
                    limit.count())});
    return;
  }
  MakeReply(*ticket);
  KeepTrace(*ticket, true);
}

void Connection::MakeReply(Ticket& ticket) {
  const LogTrace log_trace(TracedContext());
  if (ticket.trace) ticket.trace->render_start = SteadyClock::now();
  try {
    reply_ = ticket.make();
    if (ticket.trace) ticket.trace->rendered = SteadyClock::now();
  } catch (const std::exception& error) {
    LogError("{} {} failed: {}", request_.method_text, request_.target, error.what());
    reply_ = ErrorReply(Internal("the server failed to answer this request; its log says why"));
  }
}

// --- writing
// ---------------------------------------------------------------------------------------------------

/// True: the connection stays open for another request.
bool Connection::SerializeAndTryWrite() {
  const bool close =
      reply_.close || !request_.keep_alive || listener_->draining.load(std::memory_order_relaxed);
  if (reply_.status >= 400 || listener_->finisher.always()) listener_->finisher.Finish(request_, reply_);
  out_.clear();
  AppendHead(out_, reply_, request_.request_id, reply_.body.size(), close, request_.http_1_0);
  if (request_.method == Method::kHead) reply_.body.clear();
  if (reply_.status < 400 && reply_.body.size() <= kSmallBody) {  // the text of an error is still asked for
    out_ += reply_.body;
    reply_.body.clear();
  }
  // Most answers fit into the socket's buffer: then this call is all, without a round through the io_context.
  boost::system::error_code error;
  const auto pieces = Pieces(out_, reply_.body, 0);
  written_ = stream_.TryWrite(pieces, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) broken_ = true;
  listener_->metrics.CountHttp(reply_.status);
  return !close && !broken_;
}

Connection::Awaitable<bool> Connection::WriteRest() {
  SetPhase(Phase::kWrite, SteadyClock::now() + limits_.write_timeout);
  const auto rest = Pieces(out_, reply_.body, written_);
  boost::system::error_code error;
  co_await stream_.WriteAll(rest, error);
  co_return !error && !closing_;
}

/// Closing with unread bytes would send a reset, which can destroy the answer before the client has read it.
Connection::Awaitable<void> Connection::Linger() {
  boost::system::error_code error;
  Socket& socket = stream_.socket();
  stream_.EndTls();  // what the client still sends need not be understood
  socket.shutdown(Socket::shutdown_send, error);
  SetPhase(Phase::kLinger, SteadyClock::now() + limits_.linger_timeout);
  buffer_.consume(buffer_.size());
  std::size_t left = kLingerBytes + std::min(request_.content_length.value_or(0), kLingerBody);
  while (!error && !closing_ && !overdue_ && left > 0) {
    const asio::mutable_buffer room = buffer_.prepare(kLingerRead);
    auto token = asio::redirect_error(kAwait, error);
    const std::size_t read = co_await socket.async_read_some(room, token);
    left -= std::min(left, read);
  }
}

void Connection::Log(int status, TimePoint now) const {
  if (trace_.context.recorded) RecordSpan(status, now);
  if (!AccessLogEnabled() || refused_) return;
  AccessRecord record;
  record.remote = peer_;
  record.method = request_.method_text;
  record.target = request_.target;
  record.http_1_0 = request_.http_1_0;
  record.status = status;
  // Without a header there is no arrival.
  if (!request_.method_text.empty()) record.duration = now - request_.arrival;
  if (CurrentLogFormat() == LogFormat::kJson) {  // a text line has no room for it
    record.bytes_in = bytes_in_;
    record.bytes_out = status == 499 ? 0 : sent_ + out_.size() + reply_.body.size();
    record.request_id = request_.request_id;
    record.model = trace_.model.empty() ? std::string_view(request_.PathParameter("model")) : trace_.model;
    record.model_version =
        trace_.version.empty() ? std::string_view(request_.PathParameter("version")) : trace_.version;
    record.user_agent = request_.Header("user-agent");
    record.client = ForwardedClient(request_, limits_.trusted_proxies);
    record.trace = TracedContext();
  }
  WriteAccessLog(record);
}

// --- what the loop does to it
// ----------------------------------------------------------------------------------

void Connection::SetPhase(Phase phase, TimePoint deadline) {
  phase_ = phase;
  deadline_ = deadline;
  overdue_ = false;
}

void Connection::PartsReady() {
  if (phase_ != Phase::kWaiting) return;  // it looks by itself before it waits
  wake_ = Wake::kParts;
  Resume();
}

void Connection::Expire() {
  if (deadline_ > SteadyClock::now()) return;  // something woke it since the sweep looked
  overdue_ = true;
  if (phase_ == Phase::kWaiting) {
    wake_ = Wake::kDeadline;
    Resume();
    return;
  }
  // The deadline stays: what was complete already, and only not handled yet, cannot be cancelled; the next
  // sweep comes back for what follows it.
  boost::system::error_code ignored;
  stream_.socket().cancel(ignored);
}

void Connection::ClientGone() {
  if (phase_ != Phase::kWaiting) return;
  wake_ = Wake::kGone;
  Resume();
}

void Connection::Close() {
  closing_ = true;
  if (phase_ == Phase::kWaiting) {
    ClientGone();
    return;
  }
  boost::system::error_code ignored;
  stream_.socket().cancel(ignored);
  stream_.socket().shutdown(Socket::shutdown_both, ignored);  // also ends what is begun after this
}

void Connection::CloseIfIdle() {
  boost::system::error_code ignored;
  if (phase_ == Phase::kIdle && !stream_.HasInput()) stream_.socket().cancel(ignored);
}

}  // namespace serve
