#pragma once

#include <functional>
#include <string>

#include "serve/base/status.h"
#include "serve/base/unique_function.h"
#include "serve/request/request.h"
#include "serve/workflow/workflow_table.h"

namespace serve {

/// Asks a model. It answers later, never before the call returns, exactly once, and on the thread of the run.
using ModelCall = std::function<void(const std::string& model, Request request, RequestContext context,
                                     UniqueFunction<void(Result<Response>)> done)>;

/// Takes one request through the graph. Returns at once; `done` is called exactly once: from inside when
/// functions alone decide, else later, on the thread of the run.
///
/// Order:    a node starts in the moment in which the last of those before it has answered, so branches run
/// at
///           the same time. Each try of a model is a request of its own to that model: it waits in the
///           model's queue and shares batches with whoever is there.
/// Data:     the start gets the client's request; a node after one other gets its answer as `body`, after
///           several a part for each, under its name. Rows that came as `instances` go on as such. Models in
///           the middle are asked for JSON, whatever the client accepts; the only leaf is asked for what the
///           client accepts.
/// Answer:   of one leaf, its bytes and type; of several, a JSON object: leaf → its answer.
/// Errors:   `Error executing m1: …`; the first one is answered, and whatever still waits of this request is
///           cancelled. A node's code is kept, but 4xx of a node whose input the client did not send are ours
///           (kInternal). Errors inside a model are tried again, retry-attempts times, when the input is at
///           most kRetryBytes.
/// Time:     `context.deadline` must be set; no node starts after it, and a try may take its timeout-ms, at
///           most until then. Nor does one start when the client is gone (`context.cancelled`).
/// Threads:  the calling thread must be the one on which `call` answers, or they must exclude each other.
void RunWorkflow(WorkflowHandle workflow, Request request, RequestContext context, ModelCall call,
                 UniqueFunction<void(Result<Response>)> done);

/// A larger input is not kept for a second try: that would be a copy of each large body.
inline constexpr std::size_t kRetryBytes = 1 << 20;

/// A request of its own with the same parts.
Request CopyRequest(const Request& request);

}  // namespace serve
