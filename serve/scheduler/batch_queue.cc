#include "serve/scheduler/batch_queue.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::chrono::milliseconds kPeakWindow{500};
// Clients whose answers have just left ask again within a moment. Waiting this part of what the whole batch
// takes lets them share it; a shorter wait than the shortest is not worth a timer.
constexpr int kShareOfBatch = 32;
constexpr std::chrono::microseconds kShortestDelay{250};
constexpr std::chrono::milliseconds kLookAgain{10};  // whether a slow client has read something
constexpr double kDrainMemory = 4;         // seconds of work, of which the older half is then forgotten
constexpr double kLongestRetryAfter = 60;  // seconds

bool IsDead(const Waiting& waiting, TimePoint now) {
  return waiting.context.Cancelled() || waiting.context.deadline <= now;
}

/// Its client has parts to read before more of them are made.
bool IsBlocked(const Waiting& waiting) {
  return waiting.returned && waiting.context.parts != nullptr && waiting.context.parts->Full();
}

}  // namespace

/// What one pass over the queue picked, as indexes from the front of each class.
struct BatchQueue::Choice {
  struct Pick {
    std::size_t index;
    bool dead;
  };
  std::array<std::vector<Pick>, kPriorities> picks;
  std::int64_t rows = 0;
  std::size_t requests = 0;
  TimePoint oldest = TimePoint::max();
  TimePoint earliest_deadline = TimePoint::max();
  bool full = false;          // no further row fits
  bool deadline_cut = false;  // a larger batch would miss a deadline
  bool other_shapes = false;  // live requests of other shapes were passed over
  bool blocked = false;       // requests of slow clients were passed over
  bool returned = false;      // some were run before
};

BatchQueue::BatchQueue(std::string name, SchedulerOptions options, ModelMetrics& metrics)
    : name_(std::move(name)), options_(options), metrics_(metrics), times_(options.batch_size) {}

bool BatchQueue::Push(Waiting waiting, bool wake_worker) {
  Status refused;
  std::vector<Waiting> dead;
  {
    std::lock_guard lock(mutex_);
    if (depth_ >= options_.capacity) SweepDead(waiting.queued, dead);
    if (closed_) {
      refused = {Code::kUnavailable,
                 fmt::format("Model \"{}\" is being unloaded or the server is stopping.", name_)};
      metrics_.rejected[static_cast<std::size_t>(RejectReason::kShutdown)].Add();
    } else if (depth_ >= options_.capacity) {
      refused.code = Code::kResourceExhausted;
      refused.retry_after = SecondsToDrain();
      metrics_.rejected[static_cast<std::size_t>(RejectReason::kQueueFull)].Add();
    } else {
      unfinished_.fetch_add(1, std::memory_order_relaxed);
      NotePeak(waiting.queued);
      waiting_[static_cast<std::size_t>(waiting.context.priority)].push_back(std::move(waiting));
      metrics_.queue_depth.Set(static_cast<std::int64_t>(++depth_));
      ++changes_;
    }
  }
  AnswerDead(std::move(dead));
  if (!refused.ok()) {
    if (refused.code == Code::kResourceExhausted) {
      refused.message = fmt::format(
          "The queue of model \"{}\" is full: {} requests are waiting (job_queue_size), about {} s of work. "
          "Try "
          "again later, add workers with the scale API, or raise job_queue_size.",
          name_, options_.capacity, refused.retry_after);
    }
    std::move(waiting.responder).Send(std::move(refused));
    return false;
  }
  if (wake_worker) pushed_.notify_one();
  return true;
}

void BatchQueue::Return(std::vector<Waiting> unfinished) {
  const TimePoint now = SteadyClock::now();
  unfinished_.fetch_add(static_cast<std::int64_t>(unfinished.size()), std::memory_order_relaxed);
  {
    std::lock_guard lock(mutex_);
    if (!abandoned_) {
      for (Waiting& item : unfinished) {
        item.queued = now;
        item.returned = true;
        auto& queue = waiting_[static_cast<std::size_t>(item.context.priority)];
        const auto later = std::find_if(queue.begin(), queue.end(), [&](const Waiting& other) {
          return other.context.arrival > item.context.arrival;
        });
        queue.insert(later, std::move(item));
      }
      depth_ += unfinished.size();
      returned_ += unfinished.size();
      metrics_.queue_depth.Set(static_cast<std::int64_t>(depth_));
      ++changes_;
      unfinished.clear();
    }
  }
  pushed_.notify_one();
  for (Waiting& item : unfinished) {
    metrics_.rejected[static_cast<std::size_t>(RejectReason::kShutdown)].Add();
    std::move(item.responder)
        .Send(Status{Code::kUnavailable,
                     fmt::format("Model \"{}\" is being unloaded or the server is stopping.", name_)});
  }
  Finished(unfinished.size());
}

std::optional<Batch> BatchQueue::PopBatch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  ++idle_;
  while (!stop.stop_requested()) {
    const TimePoint now = SteadyClock::now();
    std::vector<Waiting> dead;
    Decision decision;
    decision = Decide(now, dead);
    if (decision.batch) {
      --idle_;
      lock.unlock();
      AnswerDead(std::move(dead));
      CountBatch(*decision.batch, now);
      return std::move(decision.batch);
    }
    if (!dead.empty()) {
      lock.unlock();
      AnswerDead(std::move(dead));
      lock.lock();
      continue;
    }
    if (closed_ && depth_ == 0) break;
    const std::uint64_t seen = changes_;
    const auto changed = [&] { return changes_ != seen || stop.stop_requested(); };
    if (decision.ask_again == TimePoint::max()) {
      pushed_.wait(lock, changed);
    } else {
      pushed_.wait_until(lock, decision.ask_again, changed);
    }
  }
  --idle_;
  return std::nullopt;
}

std::optional<Batch> BatchQueue::Borrow(std::chrono::nanoseconds limit) {
  std::vector<Waiting> dead;
  Decision decision;
  const TimePoint now = SteadyClock::now();
  bool left_to_workers = false;
  {
    std::lock_guard lock(mutex_);
    const auto rows = std::min(static_cast<std::int64_t>(depth_), times_.BestRows());
    if (idle_ > 0 && times_.Predict(rows) <= limit) decision = Decide(now, dead);
    if (!decision.batch &&
        depth_ > 0) {  // too long here, all workers are busy, or it pays to wait for company
      left_to_workers = true;
      ++changes_;
    }
  }
  if (left_to_workers) pushed_.notify_one();
  AnswerDead(std::move(dead));
  if (decision.batch) CountBatch(*decision.batch, now);
  return std::move(decision.batch);
}

BatchQueue::Decision BatchQueue::TryPop(TimePoint now) {
  std::vector<Waiting> dead;
  Decision decision;
  {
    std::lock_guard lock(mutex_);
    decision = Decide(now, dead);
  }
  AnswerDead(std::move(dead));
  if (decision.batch) CountBatch(*decision.batch, now);
  return decision;
}

BatchQueue::Decision BatchQueue::Decide(TimePoint now, std::vector<Waiting>& dead) {
  Decision decision;
  if (depth_ == 0) {
    held_since_.reset();
    return decision;
  }
  const std::int64_t limit = times_.BestRows();
  Choice choice;
  std::optional<std::uint64_t> shape_key;
  if (returned_ > 0) shape_key = LeadingShape(now);
  for (std::size_t klass = 0; klass < waiting_.size() && !choice.full && !choice.deadline_cut; ++klass) {
    for (std::size_t i = 0; i < waiting_[klass].size(); ++i) {
      const Waiting& item = waiting_[klass][i];
      if (IsDead(item, now)) {
        choice.picks[klass].push_back({i, true});
        continue;
      }
      if (IsBlocked(item)) {
        choice.blocked = true;
        continue;
      }
      if (!shape_key) shape_key = item.sample.shape_key;
      if (item.sample.shape_key != *shape_key) {
        choice.other_shapes = true;
        continue;
      }
      if (choice.requests == 0) {
        // The leader: whatever its size and deadline.
      } else if (choice.rows + item.sample.rows > limit) {
        choice.full = true;
        break;
      } else if (const TimePoint first = std::min(choice.earliest_deadline, item.context.deadline);
                 first != TimePoint::max() && now + times_.Predict(choice.rows + item.sample.rows) > first) {
        choice.deadline_cut = true;
        break;
      }
      choice.picks[klass].push_back({i, false});
      ++choice.requests;
      choice.rows += item.sample.rows;
      choice.returned |= item.returned;
      choice.oldest = std::min(choice.oldest, item.queued);
      choice.earliest_deadline = std::min(choice.earliest_deadline, item.context.deadline);
      if (choice.rows >= limit) {
        choice.full = true;
        break;
      }
    }
  }

  if (!sizes_.empty()) FitSize(choice);
  Batch batch;
  bool delay_over = false;
  const std::chrono::nanoseconds moment = Moment(limit);
  const bool may_wait = options_.max_batch_delay.count() > 0 || moment.count() > 0;
  if (choice.requests > 0 && may_wait && !choice.full && !choice.deadline_cut && !choice.returned &&
      !closed_) {
    // The setting counts from when the oldest came, a moment from when the worker could have begun.
    TimePoint leave =
        std::max<TimePoint>(choice.oldest + options_.max_batch_delay, held_since_.value_or(now) + moment);
    if (choice.earliest_deadline != TimePoint::max()) {
      leave = std::min(leave, choice.earliest_deadline - times_.Predict(choice.rows + 1));
    }
    const bool more_may_come =
        std::max(peak_now_, peak_before_) > unfinished_.load(std::memory_order_relaxed);
    delay_over = leave <= now;
    if (more_may_come && !delay_over) {
      if (!held_since_) held_since_ = now;
      decision.ask_again = leave;
      choice.requests = 0;  // only the dead leave now
      for (auto& picks : choice.picks)
        std::erase_if(picks, [](const Choice::Pick& pick) { return !pick.dead; });
    }
  }
  if (choice.requests == 0 && choice.blocked) {
    decision.ask_again = std::min(decision.ask_again, now + kLookAgain);
  }
  NoteDrain(choice.requests, now);
  TakeOut(choice, batch, dead);
  metrics_.queue_depth.Set(static_cast<std::int64_t>(depth_));
  if (choice.requests == 0) return decision;

  batch.rows = choice.rows;
  batch.reason = choice.full           ? BatchReason::kFull
                 : choice.deadline_cut ? BatchReason::kDeadline
                 : delay_over          ? BatchReason::kDelayOver
                 : choice.other_shapes ? BatchReason::kShape
                                       : BatchReason::kWorkerFree;
  if (held_since_) batch.held = now - *std::exchange(held_since_, std::nullopt);
  decision.batch = std::move(batch);
  return decision;
}

/// How long a worker may wait for clients that were just answered.
std::chrono::nanoseconds BatchQueue::Moment(std::int64_t limit) const {
  if (idle_ > 1) return {};  // one of them would wait, take everything, and leave nothing to the others
  const std::int64_t rows = std::min(std::max(peak_now_, peak_before_), limit);
  const std::chrono::nanoseconds moment = times_.Predict(rows) / kShareOfBatch;
  return rows < 2 || moment < kShortestDelay ? std::chrono::nanoseconds() : moment;
}

/// Of the live requests of the highest class that has any, the shape of the one that waits longest.
std::optional<std::uint64_t> BatchQueue::LeadingShape(TimePoint now) const {
  for (const auto& queue : waiting_) {
    const Waiting* longest = nullptr;
    for (const Waiting& item : queue) {
      if (IsDead(item, now) || IsBlocked(item)) continue;
      if (longest == nullptr || item.queued < longest->queued) longest = &item;
    }
    if (longest != nullptr) return longest->sample.shape_key;
  }
  return std::nullopt;
}

/// Leaves the last requests of the choice waiting until its rows are a size that the model was compiled for.
void BatchQueue::FitSize(Choice& choice) const {
  const auto next = std::upper_bound(sizes_.begin(), sizes_.end(), choice.rows);
  if (next == sizes_.begin()) return;
  const std::int64_t wanted = *std::prev(next);
  for (std::size_t klass = choice.picks.size(); klass-- > 0;) {
    auto& picks = choice.picks[klass];
    for (std::size_t i = picks.size(); i-- > 0 && choice.rows > wanted;) {
      const std::int64_t rows = waiting_[klass][picks[i].index].sample.rows;
      if (picks[i].dead || choice.requests == 1 || choice.rows - rows < wanted) continue;
      picks.erase(picks.begin() + static_cast<std::ptrdiff_t>(i));
      --choice.requests;
      choice.rows -= rows;
    }
  }
}

void BatchQueue::TakeOut(Choice& choice, Batch& batch, std::vector<Waiting>& dead) {
  batch.items.reserve(choice.requests);
  for (std::size_t klass = 0; klass < waiting_.size(); ++klass) {
    const auto& picks = choice.picks[klass];
    if (picks.empty()) continue;
    auto& queue = waiting_[klass];
    for (const Choice::Pick& pick : picks) {
      if (queue[pick.index].returned) --returned_;
      (pick.dead ? dead : batch.items).push_back(std::move(queue[pick.index]));
    }
    // Close the holes from the back of the touched part, so that the untouched tail is not moved.
    std::size_t to = picks.back().index + 1;
    std::size_t pick = picks.size();
    for (std::size_t from = to; from-- > 0;) {
      if (pick > 0 && picks[pick - 1].index == from) {
        --pick;
      } else {
        queue[--to] = std::move(queue[from]);
      }
    }
    queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(picks.size()));
    depth_ -= picks.size();
  }
}

void BatchQueue::SweepDead(TimePoint now, std::vector<Waiting>& dead) {
  Choice choice;
  for (std::size_t klass = 0; klass < waiting_.size(); ++klass) {
    for (std::size_t i = 0; i < waiting_[klass].size(); ++i) {
      if (IsDead(waiting_[klass][i], now)) choice.picks[klass].push_back({i, true});
    }
  }
  Batch none;
  TakeOut(choice, none, dead);
}

void BatchQueue::NotePeak(TimePoint now) {
  if (now - window_start_ > kPeakWindow) {
    // Two windows without a request: the past says nothing any more.
    peak_before_ = now - window_start_ > 2 * kPeakWindow ? 0 : peak_now_;
    peak_now_ = 0;
    window_start_ = now;
  }
  peak_now_ = std::max(peak_now_, unfinished_.load(std::memory_order_relaxed));
}

/// Only while something waits does the time between two batches say how fast the model is.
void BatchQueue::NoteDrain(std::size_t requests, TimePoint now) {
  if (requests == 0) return;
  if (busy_since_) {
    busy_ += std::chrono::duration<double>(now - *busy_since_).count();
    drained_ += static_cast<double>(requests);
    if (busy_ > kDrainMemory) {
      busy_ /= 2;
      drained_ /= 2;
    }
  }
  busy_since_ = depth_ > requests ? std::optional(now) : std::nullopt;
}

int BatchQueue::SecondsToDrain() const {
  if (drained_ <= 0) return 1;
  const double seconds = static_cast<double>(depth_) * busy_ / drained_;
  return static_cast<int>(std::clamp(std::ceil(seconds), 1.0, kLongestRetryAfter));
}

void BatchQueue::AnswerDead(std::vector<Waiting> dead) {
  for (Waiting& item : dead) {
    if (item.context.Cancelled()) {
      metrics_.rejected[static_cast<std::size_t>(RejectReason::kClientGone)].Add();
      std::move(item.responder).Send(Status{Code::kUnavailable, "The client has gone."});
    } else {
      metrics_.rejected[static_cast<std::size_t>(RejectReason::kDeadline)].Add();
      const auto limit =
          std::chrono::duration_cast<std::chrono::milliseconds>(item.context.deadline - item.context.arrival);
      std::move(item.responder)
          .Send(Status{
              Code::kDeadlineExceeded,
              fmt::format("Model \"{}\" did not answer within {} ms: the request was still waiting in the "
                          "queue{}. Set X-Request-Timeout-Ms or response_timeout, or add workers.",
                          name_, limit.count(), item.returned ? " for its next step" : "")});
    }
  }
  Finished(dead.size());
}

void BatchQueue::CountBatch(const Batch& batch, TimePoint now) {
  metrics_.batches[static_cast<std::size_t>(batch.reason)].Add();
  metrics_.batch_size.Observe(static_cast<double>(batch.rows));
  metrics_.batch_wait.Observe(std::chrono::duration<double>(batch.held).count());
  for (const Waiting& item : batch.items) {
    if (item.returned) continue;
    const std::chrono::nanoseconds waited = std::max(now - item.queued, SteadyClock::duration::zero());
    metrics_.queue.Observe(std::chrono::duration<double>(waited).count());
    metrics_.queue_nanos.Add(static_cast<std::uint64_t>(waited.count()));
  }
}

void BatchQueue::SetSizes(std::vector<std::int64_t> sizes) {
  std::lock_guard lock(mutex_);
  sizes_ = std::move(sizes);
}

void BatchQueue::Close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  Wake();
}

void BatchQueue::Wake() {
  {
    std::lock_guard lock(mutex_);
    ++changes_;
  }
  pushed_.notify_all();
}

void BatchQueue::AnswerAll(const Status& status) {
  std::vector<Waiting> left;
  {
    std::lock_guard lock(mutex_);
    for (auto& queue : waiting_) {
      std::move(queue.begin(), queue.end(), std::back_inserter(left));
      queue.clear();
    }
    depth_ = 0;
    returned_ = 0;
    abandoned_ = closed_;
    metrics_.queue_depth.Set(0);
  }
  for (Waiting& item : left) {
    metrics_.rejected[static_cast<std::size_t>(RejectReason::kShutdown)].Add();
    std::move(item.responder).Send(status);
  }
  Finished(left.size());
}

std::size_t BatchQueue::Depth() const {
  std::lock_guard lock(mutex_);
  return depth_;
}

}  // namespace serve
