#include "serve/model/sequence_table.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace serve {

SequenceTable::SequenceTable(std::string model, SequenceOptions options, Begin begin, Put put)
    : model_(std::move(model)), options_(options), begin_(std::move(begin)), put_(std::move(put)) {}

bool SequenceTable::Push(Waiting waiting, const SequenceAsk& ask, bool wake_worker) {
  const TimePoint now = waiting.queued;
  std::optional<Status> refused;
  bool put_now = false;
  {
    const std::lock_guard lock(mutex_);
    auto found = open_.find(ask.id);
    if (found != open_.end() && (ask.start || IsOver(*found->second, now))) {
      open_.erase(found);  // its requests keep it alive until they are answered
      found = open_.end();
    }
    if (now >= next_look_ || (found == open_.end() && open_.size() >= options_.max_sequences)) DropOver(now);
    if (found == open_.end()) {
      if (open_.size() >= options_.max_sequences) {
        refused = Status{
            Code::kResourceExhausted,
            fmt::format("Model \"{}\" has {} open sequences, which is the limit (maxNumSequence). Try again "
                        "when one has ended, or end one by the header that says so.",
                        model_, open_.size())};
      } else {
        auto sequence = std::make_shared<Sequence>();
        sequence->begun = now;
        sequence->state = begin_();
        found = open_.emplace(ask.id, std::move(sequence)).first;
      }
    }
    if (!refused) {
      const std::shared_ptr<Sequence> sequence = found->second;
      const bool wait = sequence->busy || sequence->putting;
      if (wait && sequence->behind.size() >= options_.max_queued) {
        refused = Status{Code::kResourceExhausted,
                         fmt::format("{} requests of sequence \"{}\" of model \"{}\" are waiting, which is "
                                     "the limit (maxSequenceJobQueueSize). Send the next one when the last "
                                     "is answered.",
                                     sequence->behind.size(), ask.id, model_)};
      } else {
        sequence->used = now;
        waiting.sample.state = sequence->state;
        waiting.responder =
            Responder([this, sequence, answer = std::move(waiting.responder)](Result<Output> output) mutable {
              // First the next one: the answer may let go of the version.
              Finished(*sequence);
              std::move(answer).Send(std::move(output));
            });
        if (ask.end) open_.erase(found);
        put_now = !wait;
        if (put_now) {
          sequence->busy = true;
        } else {
          sequence->behind.push_back(std::move(waiting));
        }
      }
    }
  }
  if (refused) {
    std::move(waiting.responder).Send(std::move(*refused));
    return false;
  }
  return put_now && put_(std::move(waiting), wake_worker);
}

/// One request of the sequence has its answer. Called by its responder, also from inside put_ when a request
/// is refused: then the call that put it goes on with the next one, so that nothing recurses.
void SequenceTable::Finished(Sequence& sequence) {
  std::unique_lock lock(mutex_);
  sequence.busy = false;
  sequence.used = SteadyClock::now();
  if (sequence.putting) return;
  while (!sequence.busy && !sequence.behind.empty()) {
    Waiting next = std::move(sequence.behind.front());
    sequence.behind.pop_front();
    sequence.busy = true;
    sequence.putting = true;
    lock.unlock();
    put_(std::move(next), true);
    lock.lock();
    sequence.putting = false;
  }
}

bool SequenceTable::IsOver(const Sequence& sequence, TimePoint now) const {
  if (options_.timeout.count() > 0 && now - sequence.begun > options_.timeout) return true;
  return !sequence.busy && !sequence.putting && now - sequence.used > options_.max_idle;
}

void SequenceTable::DropOver(TimePoint now) {
  std::erase_if(open_, [&](const auto& entry) { return IsOver(*entry.second, now); });
  next_look_ = now + options_.max_idle;
}

std::size_t SequenceTable::Open() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

}  // namespace serve
