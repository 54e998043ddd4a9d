#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "serve/base/unique_function.h"
#include "serve/model/options.h"
#include "serve/request/request.h"
#include "serve/scheduler/batch_queue.h"

namespace serve {

/// Keeps the requests of each sequence of one model version in order: at most one of them is in the queue or
/// in a batch, the others wait here. What the model keeps between them travels with the sequence
/// (Sample::state).
///
/// Begins:  with the first request of an id that is not open, or one that says so (SequenceAsk::start).
/// Ends:    with a request that says so (SequenceAsk::end), after `max_idle` without a request, or `timeout`
///          after its begin; what was accepted is still answered, in order. Time that is over is noticed when
///          the next request of any sequence comes.
/// Errors:  kResourceExhausted when max_sequences are open, or max_queued of one wait.
/// Threads: every method from any thread. No lock is held while `put` or a responder is called.
/// Source:  TorchServe's sequence batching.
class SequenceTable {
 public:
  /// Puts a request into the queue of the version, or answers it. False: it was answered.
  using Put = std::function<bool(Waiting waiting, bool wake_worker)>;
  /// What a new sequence begins with; may give nullptr.
  using Begin = std::function<std::shared_ptr<SampleState>()>;

  SequenceTable(std::string model, SequenceOptions options, Begin begin, Put put);

  /// Takes the request or answers it. True: it is in the queue now (and not behind another of its sequence).
  bool Push(Waiting waiting, const SequenceAsk& ask, bool wake_worker);
  /// Sequences that are open.
  [[nodiscard]] std::size_t Open() const;

 private:
  struct Sequence {
    TimePoint begun;
    TimePoint used;  // by the last request, or its answer
    std::shared_ptr<SampleState> state;
    std::deque<Waiting> behind;  // not empty: `busy` or `putting`
    bool busy = false;           // one is in the queue or runs
    bool putting = false;        // a thread is in PutNext
  };
  void Finished(Sequence& sequence);
  void DropOver(TimePoint now);
  [[nodiscard]] bool IsOver(const Sequence& sequence, TimePoint now) const;

  const std::string model_;
  const SequenceOptions options_;
  const Begin begin_;
  const Put put_;

  mutable std::mutex mutex_;  // guards everything below, and what the sequences hold
  std::map<std::string, std::shared_ptr<Sequence>, std::less<>> open_;
  TimePoint next_look_{};  // for sequences whose time is over
};

}  // namespace serve
