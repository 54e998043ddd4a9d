#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/request.h"
#include "serve/scheduler/batch_times.h"
#include "serve/scheduler/options.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// A prepared request with the debt of an answer.
struct Waiting {
  Sample sample;
  RequestContext context;
  Responder responder;
  TimePoint queued;        // the last time
  bool returned = false;   // it was run before and needs another run
  bool streaming = false;  // the client has got a part of the answer
};

/// What a worker runs at once: samples with equal shape keys.
struct Batch {
  std::vector<Waiting> items;
  std::int64_t rows = 0;
  BatchReason reason = BatchReason::kWorkerFree;
  std::chrono::nanoseconds held{0};  // how long it was kept waiting for company
};

/// Groups the waiting requests of one model version into batches.
///
/// Order:   higher priority first, then first come, first served. The first live request leads; later ones of
/// the same
///          shape key join it past others.
/// Size:    up to batch_size rows; fewer when BatchTimes says that a larger batch costs more per row than
/// batch 1,
///          or when a larger one would miss the earliest deadline in it. A request that is larger alone runs
///          alone.
/// Waiting: none while idle. A worker waits for company only as long as recent concurrency says that more
///          requests may come: until max_batch_delay after the oldest request was queued, or for 3 % of what
///          the batch would take after it could have begun.
/// Errors:  Push answers kResourceExhausted at `capacity`, with the seconds that the queue needs to empty,
/// kUnavailable after Close(). Expired requests are answered
///          (kDeadlineExceeded) and never run; cancelled ones are dropped the same way.
/// Again:   a request that needs another run comes back by Return(), to its old place: ahead of those of its
///          shape that came later, so that what has begun is finished first. While there are such requests,
///          the shape that has waited longest leads the next batch, so that none waits for the other's end.
///          A request whose client does not read (PartSink::Full) is passed over meanwhile.
/// Threads: every method from any thread; PopBatch blocks: worker threads only. No responder is called under
/// the lock. Source:  TorchServe batchSize, maxBatchDelay and job_queue_size.
class BatchQueue {
 public:
  /// `name` is used in messages. `metrics` is borrowed from the model version.
  BatchQueue(std::string name, SchedulerOptions options, ModelMetrics& metrics);

  /// Takes the request or answers it at once. False: it was answered. `wake_worker` off: the caller promises
  /// to call Borrow() soon, on any thread.
  bool Push(Waiting waiting, bool wake_worker = true);
  /// Takes back what a batch left unfinished, also after Close() and beyond the capacity; after AnswerAll of
  /// a closed queue it is answered.
  void Return(std::vector<Waiting> unfinished);
  /// nullopt: stop was requested, or the queue is closed and empty. Whoever requests the stop calls Wake()
  /// after.
  std::optional<Batch> PopBatch(const std::stop_token& stop);
  void Wake();

  /// A batch for a thread that is no worker and spares an idle one the work, so that a small model costs no
  /// change of threads. nullopt: nothing to run here; what waits is left to the workers, who are woken for
  /// it: all of them are busy, or a batch of all that waits would take longer than `limit`. Whoever ran a
  /// batch asks Waits() after it.
  std::optional<Batch> Borrow(std::chrono::nanoseconds limit);
  /// Whether requests wait: the caller of Borrow() should soon call it again.
  [[nodiscard]] bool Waits() const { return Depth() > 0; }

  /// What PopBatch does at time `now`, without waiting: a batch, or the time to ask again (max(): when
  /// something is pushed). Tests bring their own time.
  struct Decision {
    std::optional<Batch> batch;
    TimePoint ask_again = TimePoint::max();
  };
  Decision TryPop(TimePoint now);

  /// `answered` requests that were popped have got their answers.
  void Finished(std::size_t answered) {
    unfinished_.fetch_sub(static_cast<std::int64_t>(answered), std::memory_order_relaxed);
  }

  /// From now on batches are formed with these numbers of rows where possible (ascending; empty: with any):
  /// the model was compiled for them.
  void SetSizes(std::vector<std::int64_t> sizes);

  /// Refuses new requests; what waits is still popped.
  void Close();
  /// Answers everything that still waits with `status`; once closed, also what comes back later.
  void AnswerAll(const Status& status);

  [[nodiscard]] std::size_t Depth() const;
  [[nodiscard]] std::size_t capacity() const { return options_.capacity; }
  BatchTimes& times() { return times_; }
  [[nodiscard]] const BatchTimes& times() const { return times_; }

 private:
  struct Choice;
  [[nodiscard]] std::optional<std::uint64_t> LeadingShape(TimePoint now) const;
  Decision Decide(TimePoint now, std::vector<Waiting>& dead);
  [[nodiscard]] std::chrono::nanoseconds Moment(std::int64_t limit) const;
  void FitSize(Choice& choice) const;
  void TakeOut(Choice& choice, Batch& batch, std::vector<Waiting>& dead);
  void SweepDead(TimePoint now, std::vector<Waiting>& dead);
  void NotePeak(TimePoint now);
  void NoteDrain(std::size_t requests, TimePoint now);
  [[nodiscard]] int SecondsToDrain() const;
  void AnswerDead(std::vector<Waiting> dead);
  void CountBatch(const Batch& batch, TimePoint now);

  const std::string name_;
  const SchedulerOptions options_;
  ModelMetrics& metrics_;
  BatchTimes times_;
  std::atomic<std::int64_t> unfinished_{0};  // pushed and not answered

  mutable std::mutex mutex_;  // guards everything below
  std::condition_variable pushed_;
  std::array<std::deque<Waiting>, kPriorities> waiting_;
  std::size_t depth_ = 0;
  bool closed_ = false;
  bool abandoned_ = false;    // closed, and what waited was answered
  std::size_t returned_ = 0;  // of those that wait
  std::vector<std::int64_t> sizes_;
  int idle_ = 0;                         // workers inside PopBatch
  std::uint64_t changes_ = 0;            // pushes, wakes, close: what a sleeping worker looks at
  std::optional<TimePoint> held_since_;  // since when the leader is kept waiting for company
  // Recent concurrency: the most requests that were unfinished at once, in this window and the one before.
  std::int64_t peak_now_ = 0;
  std::int64_t peak_before_ = 0;
  TimePoint window_start_{};
  // How fast the queue empties: requests that left, and the seconds in which it never was empty.
  std::optional<TimePoint> busy_since_;  // the last batch, if it left others waiting
  double busy_ = 0;
  double drained_ = 0;
};

}  // namespace serve
