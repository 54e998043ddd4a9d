#pragma once

#include <chrono>
#include <cstdint>
#include <map>

#include "bench/load/latency_histogram.h"
#include "bench/load/options.h"
#include "serve/base/status.h"

namespace serve {

/// What a run saw between the end of the warm-up and its own end. Latencies also count answers that came in
/// after the end for requests sent before it; rates do not.
struct LoadResult {
  std::chrono::nanoseconds window{0};  // what the rates refer to
  std::uint64_t in_window = 0;         // answers within it
  std::uint64_t ok_in_window = 0;      // 2xx answers within it

  std::map<int, std::uint64_t> statuses;
  LatencyHistogram ok;       // 2xx
  LatencyHistogram refused;  // 503
  LatencyHistogram other;    // every other status

  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t reconnects = 0;  // connections that the server closed after an answer, as it may
  std::uint64_t connect_errors = 0;
  std::uint64_t closed_errors = 0;  // closed or reset before the answer was complete
  std::uint64_t malformed = 0;      // answers that are no HTTP
  std::uint64_t timeouts = 0;
  std::uint64_t unsent =
      0;  // open loop: requests that were due and for which no connection was free until the end

  std::uint64_t retry_after = 0;  // 503 answers with this header, and the smallest and largest of its values
  int retry_after_min = -1;
  int retry_after_max = -1;

  double client_cpu =
      0;  // CPU seconds of this process per second: near the number of threads, it is the bottleneck

  [[nodiscard]] double Seconds() const { return std::chrono::duration<double>(window).count(); }
  void Merge(const LoadResult& other);
};

/// Puts an HTTP/1.1 server under load and waits for the end.
///
/// Closed loop (rate 0): each connection sends its next request when the answer to the last one is there;
/// latency
///          counts from sending.
/// Open loop: requests are due at fixed times, whatever the server does (ArrivalSchedule). One that finds no
/// free
///          connection waits in the client; its latency counts from when it was due, so that a server that
///          stalls is charged for every request it made wait, not for one ("coordinated omission").
/// Bounds:  ends after warmup + duration, or after max_requests answers; then outstanding answers have at
/// most `timeout`. Errors:  kUnavailable when the first connection cannot be made. Later trouble is counted.
/// Threads: starts `threads` of its own and joins them; each has its share of the connections and of the
/// rate.
Result<LoadResult> RunLoad(const LoadOptions& options);

}  // namespace serve
