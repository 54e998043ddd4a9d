#pragma once

#include <string_view>

#include "serve/api/inference_api.h"
#include "serve/http/http_message.h"
#include "serve/http/reply_sender.h"

namespace serve {

/// Starts one prediction with what a route has decoded; returns the deadline of its answer. Deadline and
/// priority come from the client's headers (see routes.h). An error is answered through the sender.
TimePoint StartPrediction(InferenceApi& api, const HttpRequest& http, std::string_view model,
                          std::string_view version, Result<Request>&& request, ReplySender&& sender);

/// Deadline and priority as the client's headers ask for them.
Result<RequestContext> ReadContext(const HttpRequest& request);

/// Runs a small model on this I/O thread, after the other connections that have something to read were read,
/// so that their requests share the batch.
void RunSoon(ModelHandle model);

/// Answers at once.
TimePoint Refuse(const Status& status, ReplySender&& sender);

/// 501 for a version that exists: no handler of this server explains.
HttpReply NoExplanation(const InferenceApi& api, std::string_view model, std::string_view version);

}  // namespace serve
