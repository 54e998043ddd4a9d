// Answers that come in parts: each part is one chunk, sent when it is made.
#include <utility>

#include <boost/asio/buffer.hpp>
#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/connection.h"

namespace serve {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace

/// Whether what woke the connection is the first part of an answer.
bool Connection::AnswersInParts() const {
  return ticket_ && ticket_->HasParts() && (wake_ == Wake::kParts || wake_ == Wake::kAnswered);
}

/// True: the connection stays open for another request.
bool Connection::AppendPartsHead(const Ticket& ticket) {
  const bool close = !request_.keep_alive || listener_->draining.load(std::memory_order_relaxed);
  reply_ = HttpReply();
  reply_.content_type = ticket.part_type();
  reply_.extra_fields = "ts_stream_next: true\r\n";
  if (listener_->finisher.always()) listener_->finisher.Finish(request_, reply_);
  out_.clear();
  AppendChunkedHead(out_, reply_, request_.request_id, close);
  return !close;
}

/// The end of the answer. False: it is an error, which no status can say any more.
bool Connection::AppendAnswer(Ticket& ticket) {
  MakeReply(ticket);
  if (reply_.status >= 400) return false;
  if (!reply_.body.empty()) out_ += fmt::format("{:x}\r\n{}\r\n", reply_.body.size(), reply_.body);
  reply_.body.clear();
  out_ += kLastChunk;
  return true;
}

/// True: the connection stays open for another request; otherwise broken_ says whether the answer is
/// complete.
Connection::Awaitable<bool> Connection::SendParts() {
  const std::shared_ptr<Ticket> ticket = std::move(ticket_);
  const bool more = AppendPartsHead(*ticket);
  bool complete = false;
  bool finished = false;  // whoever computes has nothing to do with the ticket any more
  for (;;) {
    const bool answered = ticket->answered;  // before the parts are taken: they come before the answer
    const std::size_t bytes = ticket->TakeParts(out_);
    if (answered) complete = AppendAnswer(*ticket);
    finished = finished || answered;
    const bool written = co_await WriteOut();
    ticket->Sent(bytes);
    if (!written) complete = false;
    if (!written || answered) break;
    if (ticket->answered || ticket->HasParts()) continue;
    wake_ = Wake::kAnswered;
    SetPhase(Phase::kWaiting, ticket->deadline);
    co_await Suspend();
    if (wake_ == Wake::kGone || wake_ == Wake::kDeadline) break;
  }
  KeepTrace(*ticket, finished);
  EndParts(*ticket, complete);
  co_return more&& complete;
}

/// False: the client takes no more.
Connection::Awaitable<bool> Connection::WriteOut() {
  boost::system::error_code error;
  const Stream::Pieces all{asio::buffer(out_), asio::const_buffer()};
  written_ = out_.empty() ? 0 : stream_.TryWrite(all, error);
  if (error && error != asio::error::would_block && error != asio::error::try_again) broken_ = true;
  bool written = !broken_;
  if (written && written_ < out_.size()) {
    SetPhase(Phase::kWrite, SteadyClock::now() + limits_.write_timeout);
    const Stream::Pieces rest{asio::buffer(out_) + written_, asio::const_buffer()};
    error = {};
    co_await stream_.WriteAll(rest, error);
    written = !error && !closing_;
  }
  sent_ += out_.size();
  out_.clear();
  co_return written;
}

void Connection::EndParts(Ticket& ticket, bool complete) {
  ticket.connection = nullptr;
  out_ = std::string();  // it may have grown
  const TimePoint now = SteadyClock::now();
  int status = 200;
  if (!complete) {
    ticket.cancelled.store(true, std::memory_order_relaxed);
    broken_ = true;
    std::string why;
    if (wake_ == Wake::kDeadline) {
      status = 504;
      why = "the deadline came first (X-Request-Timeout-Ms, response_timeout)";
    } else if (reply_.status >= 400) {
      status = reply_.status;
      why = std::move(reply_.body);
    } else if (overdue_) {
      status = 408;
      why = "the client did not read it (write_timeout_ms)";
    } else {
      status = 499;  // the client has gone
    }
    if (status != 499) {
      const LogTrace log_trace(TracedContext());
      listener_->metrics.streams_broken.Add();
      LogWarning("{} {} (request {}): the answer ended after {} bytes: {}", request_.method_text,
                 request_.target, request_.request_id, sent_, why);
    }
  }
  reply_.body.clear();
  if (status != 499) listener_->metrics.CountHttp(status);
  Log(status, now);
}

}  // namespace serve
