#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/trace_context.h"
#include "serve/telemetry/options.h"

namespace serve {

/// One step of a request: an interval within the request's own.
struct SpanStep {
  std::string_view name;  // a literal
  std::chrono::steady_clock::time_point start;
  std::chrono::steady_clock::time_point end;
};

/// An answered request that was chosen to be recorded.
struct RequestSpan {
  TraceContext context;
  std::string trace_state;  // the caller's, as it came
  std::string method;
  std::string route;  // `/predictions/{model}`; empty: no route matched
  std::string path;   // without the query
  std::string host;   // as the client called it
  std::string request_id;
  std::string model;
  std::string version;
  std::string error;  // text of an answer 5xx
  int status = 0;
  std::chrono::steady_clock::time_point start;
  std::chrono::steady_clock::time_point end;
  std::vector<SpanStep> steps;
  long long batch_requests = 0;  // 0: it was in no batch
  long long batch_rows = 0;
  long long batches = 0;

  /// How many spans it becomes.
  [[nodiscard]] std::size_t count() const { return 1 + steps.size(); }
};

/// Takes what is recorded, in blocks. Any thread; must not wait for anything slow.
class SpanSink {
 public:
  virtual ~SpanSink() = default;
  virtual void Take(std::vector<RequestSpan> block) = 0;
};

/// Gives each request its place in a trace and chooses those that are recorded. Recorded ones gather on the
/// thread that answered them, and go to the sink many at once.
///
/// Threads: every method from any thread; Flush tells of the calling thread's.
class Tracer {
 public:
  /// `sink`: borrowed; null: nothing is recorded, the ids are for the logs.
  explicit Tracer(TraceSampling sampling, SpanSink* sink = nullptr) : sampling_(sampling), sink_(sink) {}

  /// `traceparent` and `cloud_trace`: the fields' values (X-Cloud-Trace-Context); empty: there is none. The
  /// first that is valid counts; without one a trace begins here. Allocates nothing.
  [[nodiscard]] TraceContext Begin(std::string_view traceparent, std::string_view cloud_trace) const;
  /// Of a request whose context is `recorded`.
  void Finish(RequestSpan span) const;
  /// Hands over what the calling thread has: in each sweep of an I/O thread, and before it ends.
  static void Flush();

 private:
  [[nodiscard]] bool Choose(const TraceContext& context, bool has_caller) const;

  const TraceSampling sampling_;
  SpanSink* const sink_;
};

}  // namespace serve
