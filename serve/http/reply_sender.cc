#include "serve/http/reply_sender.h"

#include "serve/http/io_loop.h"

namespace serve {

ReplySender::~ReplySender() {
  if (ticket_) std::move(*this).Send(ErrorReply(Internal("the request was dropped before it was answered")));
}

void ReplySender::Send(HttpReply reply) && {
  std::move(*this).Send([reply = std::move(reply)]() mutable { return std::move(reply); });
}

void ReplySender::Send(UniqueFunction<HttpReply()> make) && {
  const std::shared_ptr<Ticket> ticket = std::move(ticket_);
  ticket->make = std::move(make);
  if (ticket->loop->IsThisThread() && !ticket->suspended) {
    ticket->answered = true;  // the connection looks before it goes to sleep
    return;
  }
  ticket->loop->Finish(ticket);
}

}  // namespace serve
