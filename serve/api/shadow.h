#pragma once

#include <memory>
#include <mutex>
#include <thread>

#include "serve/api/options.h"
#include "serve/model/model_version.h"
#include "serve/request/request.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// Whether a second answer says the same as the first.
struct AnswerComparison {
  bool equal = false;
  double difference = 0;  // the largest between two numbers, relative to those above 1
};
/// JSON: the same members and texts, the same label with the largest number where an object holds numbers
/// alone, numbers within `tolerance`; `model_version` of KServe v2 may differ. Anything else: the same bytes.
AnswerComparison CompareAnswers(const Response& first, const Response& second, double tolerance);

/// Sends copies of requests to a version that is tried out, and compares its answers with those that the
/// clients got.
///
/// A copy starts when the client's answer is computed, on a thread of this object, with the lowest priority:
/// neither the client nor its I/O thread waits for any of it but for the copying of the body. It is dropped
/// and counted when the body is too large, `shadow_backlog` copies are under way, half of the version's queue
/// is taken, or the client's own request failed.
///
/// Threads: Take and Send from any thread; the instruments of the shadow version count what became of each.
class Shadow {
 public:
  explicit Shadow(TrafficOptions options);
  /// Drops what waits; what a worker runs ends by itself.
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  struct Copy;
  struct FreeCopy {
    void operator()(Copy* copy) const;
  };
  using CopyHandle = std::unique_ptr<Copy, FreeCopy>;

  /// null: dropped.
  CopyHandle Take(const Request& request, ModelHandle version, double tolerance);
  /// `primary` answered with `output`.
  void Send(CopyHandle copy, ModelHandle primary, const Output& output, const RenderHint& hint);
  /// No more copies; called before the versions are closed.
  void Stop();

 private:
  struct State;
  const TrafficOptions options_;
  const std::shared_ptr<State> state_;
  std::once_flag started_;
  std::jthread thread_;
};

}  // namespace serve
