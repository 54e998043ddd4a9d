#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model_store/http_client/http_client.h"
#include "serve/telemetry/metrics.h"
#include "serve/telemetry/tracer.h"
#include "serve/tracing/options.h"

namespace serve {

/// Sends spans to a collector from a thread of its own: `POST endpoint`, up to 512 requests a call.
///
/// Full:    what comes while `queue` requests wait is dropped and counted (reason queue_full).
/// Errors:  429, 502, 503, 504 and a connection that fails are tried again up to four times, after
/// Retry-After or
///          1, 2, 4 and 8 s; then, and after any other status, the block is dropped and counted (unreachable,
///          refused). The log says so once for each stretch of failures.
/// Threads: Take from any thread, under a lock that is held for a move; Stop and the destructor from the
/// thread
///          that made it.
class SpanExporter final : public SpanSink {
 public:
  using Call = std::function<Result<HttpAnswer>(const HttpCall&)>;
  /// `metrics` is borrowed. `call` is CallHttp; tests bring their own.
  SpanExporter(TraceExport options, const Instance& instance, std::string version, Metrics& metrics,
               Call call = CallHttp);
  /// Waits for a call that runs: Stop says whether one does.
  ~SpanExporter() override;
  SpanExporter(const SpanExporter&) = delete;
  SpanExporter& operator=(const SpanExporter&) = delete;

  void Take(std::vector<RequestSpan> block) override;
  /// Sends what waits, without waiting for a collector that does not answer; what is left at `patience` is
  /// dropped (reason shutdown). False: a call is still running.
  bool Stop(std::chrono::milliseconds patience);

 private:
  class Worker;
  const std::unique_ptr<Worker> worker_;
};

/// How long to wait before the call is made again: what the collector says, else 1, 2, 4, 8 s. At most 30 s.
std::chrono::milliseconds RetryPause(std::string_view retry_after, int attempt);

}  // namespace serve
