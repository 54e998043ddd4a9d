#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "serve/base/trace_context.h"

namespace serve {

/// What is noted of one request on its way, for logs and spans. A time that is zero was not reached.
///
/// Threads: `context`, `model`, `version` and `prepare_start` are written on the request's I/O thread; the
/// rest by whoever has the request, and only read once it is answered.
struct RequestTrace {
  using TimePoint = std::chrono::steady_clock::time_point;

  TraceContext context;
  std::string model;
  std::string version;        // that was chosen
  TimePoint prepare_start{};  // a handler reads the request
  TimePoint queued{};         // into the version's queue
  TimePoint started{};        // its (first) batch leaves the queue
  TimePoint computed{};       // its (last) batch is done
  TimePoint render_start{};   // the handler writes the answer
  TimePoint rendered{};
  std::int64_t batch_requests = 0;  // of its last batch, itself among them
  std::int64_t batch_rows = 0;
  std::int64_t batches = 0;  // above 1 where an answer takes several runs
};

}  // namespace serve
