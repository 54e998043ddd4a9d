#include <benchmark/benchmark.h>
#include <memory>
#include <vector>

#include "serve/scheduler/batch_queue.h"

namespace serve {
namespace {

Waiting MakeWaiting(TimePoint now, std::uint64_t shape_key = 0) {
  Waiting waiting{{}, {}, Responder([](const Result<Output>&) {}), now};
  waiting.sample.shape_key = shape_key;
  waiting.context.arrival = now;
  return waiting;
}

void Answer(BatchQueue& queue, Batch batch) {
  for (Waiting& item : batch.items) std::move(item.responder).Send(Output{});
  queue.Finished(batch.items.size());
}

/// One request through an idle queue: push, pop as a batch of one, answer.
void PushAndPop(benchmark::State& state) {
  ModelMetrics metrics("m", "1.0");
  BatchQueue queue("m", {.capacity = 100, .batch_size = 32}, metrics);
  const TimePoint now = SteadyClock::now();
  for (auto _ : state) {
    queue.Push(MakeWaiting(now), false);
    Answer(queue, std::move(*queue.TryPop(now).batch));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(PushAndPop);

/// Batches of 32 out of a queue that is kept at a depth; items are requests.
void FormBatches(benchmark::State& state) {
  constexpr int kBatch = 32;
  const auto depth = static_cast<std::size_t>(state.range(0));
  const auto shapes = static_cast<std::uint64_t>(state.range(1));
  ModelMetrics metrics("m", "1.0");
  BatchQueue queue("m", {.capacity = depth + kBatch, .batch_size = kBatch}, metrics);
  const TimePoint now = SteadyClock::now();
  std::uint64_t pushed = 0;
  const auto fill = [&] {
    while (queue.Depth() < depth) queue.Push(MakeWaiting(now, pushed++ % shapes), false);
  };
  fill();
  for (auto _ : state) {
    Answer(queue, std::move(*queue.TryPop(now).batch));
    fill();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(pushed - depth));
}
BENCHMARK(FormBatches)->ArgNames({"depth", "shapes"})->ArgsProduct({{32, 100, 1000}, {1, 4}});

/// What a request costs that a full queue refuses.
void RefuseWhenFull(benchmark::State& state) {
  ModelMetrics metrics("m", "1.0");
  BatchQueue queue("m", {.capacity = 100, .batch_size = 32}, metrics);
  const TimePoint now = SteadyClock::now();
  for (int i = 0; i < 100; ++i) queue.Push(MakeWaiting(now), false);
  for (auto _ : state) benchmark::DoNotOptimize(queue.Push(MakeWaiting(now), false));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(RefuseWhenFull);

/// Four threads that push and take batches at the same time: what the queue's lock costs under contention.
void PushAndPopFromThreads(benchmark::State& state) {
  static ModelMetrics metrics("m", "1.0");
  static std::unique_ptr<BatchQueue> queue;
  if (state.thread_index() == 0) {
    queue = std::make_unique<BatchQueue>("m", SchedulerOptions{.capacity = 100, .batch_size = 8}, metrics);
  }
  const TimePoint now = SteadyClock::now();
  for (auto _ : state) {
    queue->Push(MakeWaiting(now), false);
    if (auto decision = queue->TryPop(now); decision.batch) Answer(*queue, std::move(*decision.batch));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(PushAndPopFromThreads)->Threads(1)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace serve
