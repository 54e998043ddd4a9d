#include "serve/scheduler/batch_queue.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

/// Requests with an id, and what became of them. Time is the test's own.
class BatchQueueTest : public testing::Test {
 protected:
  ModelMetrics metrics_{"m", "1.0"};
  const TimePoint start_ = SteadyClock::now();
  std::vector<std::pair<int, Code>> answers_;
  int retry_after_ = 0;  // of the last answer

  TimePoint At(int ms) const { return start_ + milliseconds(ms); }

  Waiting Make(int id, int queued_ms = 0) {
    Waiting waiting{{},
                    {},
                    Responder([this, id](Result<Output> result) {
                      answers_.emplace_back(id, result ? Code::kOk : result.error().code);
                      retry_after_ = result ? 0 : result.error().retry_after;
                    }),
                    At(queued_ms)};
    waiting.context.arrival = At(queued_ms);
    waiting.sample.inputs.push_back(Tensor{DType::kInt64, {id}, nullptr});  // carries the id to Ids()
    return waiting;
  }

  static std::vector<int> Ids(const Batch& batch) {
    std::vector<int> ids;
    for (const Waiting& item : batch.items) ids.push_back(static_cast<int>(item.sample.inputs[0].shape[0]));
    return ids;
  }

  static void Answer(BatchQueue& queue, Batch batch) {
    for (Waiting& item : batch.items) std::move(item.responder).Send(Output{});
    queue.Finished(batch.items.size());
  }
};

TEST_F(BatchQueueTest, AFreeWorkerTakesWhatIsThereAtOnce) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.Push(Make(1));
  queue.Push(Make(2));
  auto decision = queue.TryPop(At(0));
  ASSERT_TRUE(decision.batch);
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(1, 2));
  EXPECT_EQ(decision.batch->reason, BatchReason::kWorkerFree);
}

TEST_F(BatchQueueTest, ABatchHoldsAtMostBatchSizeRows) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 3}, metrics_);
  for (int id = 1; id <= 4; ++id) queue.Push(Make(id));
  auto decision = queue.TryPop(At(0));
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(1, 2, 3));
  EXPECT_EQ(decision.batch->reason, BatchReason::kFull);
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(4));
}

TEST_F(BatchQueueTest, RowsCountNotRequests) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 4}, metrics_);
  Waiting three = Make(1);
  three.sample.rows = 3;
  Waiting two = Make(2);
  two.sample.rows = 2;
  queue.Push(std::move(three));
  queue.Push(std::move(two));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(1));
}

TEST_F(BatchQueueTest, ARequestLargerThanTheBatchRunsAlone) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 4}, metrics_);
  Waiting large = Make(1);
  large.sample.rows = 9;
  queue.Push(std::move(large));
  queue.Push(Make(2));
  auto decision = queue.TryPop(At(0));
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(1));
  EXPECT_EQ(decision.batch->rows, 9);
}

TEST_F(BatchQueueTest, OnlyLikeShapesShareABatchAndLaterOnesMayPass) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  for (int id = 1; id <= 4; ++id) {
    Waiting waiting = Make(id);
    waiting.sample.shape_key = id % 2;
    queue.Push(std::move(waiting));
  }
  auto decision = queue.TryPop(At(0));
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(1, 3));
  EXPECT_EQ(decision.batch->reason, BatchReason::kShape);
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(2, 4));
  EXPECT_EQ(queue.Depth(), 0u);
}

TEST_F(BatchQueueTest, AHigherPriorityLeavesFirst) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 1}, metrics_);
  Waiting low = Make(1);
  low.context.priority = Priority::kLow;
  Waiting high = Make(3);
  high.context.priority = Priority::kHigh;
  queue.Push(std::move(low));
  queue.Push(Make(2));
  queue.Push(std::move(high));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(3));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(2));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(1));
}

TEST_F(BatchQueueTest, AFullQueueAnswersAtOnce) {
  BatchQueue queue("m", {.capacity = 2, .batch_size = 1}, metrics_);
  for (int id = 1; id <= 3; ++id) queue.Push(Make(id));
  EXPECT_THAT(answers_, ElementsAre(std::pair(3, Code::kResourceExhausted)));
  EXPECT_EQ(queue.Depth(), 2u);
}

TEST_F(BatchQueueTest, ARefusalSaysHowLongTheQueueNeedsToEmptyAtItsRecentPace) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 1}, metrics_);
  int id = 0;
  const auto fill = [&] {
    while (queue.Depth() < 10) queue.Push(Make(++id));
    queue.Push(Make(++id));
  };
  fill();
  EXPECT_EQ(retry_after_, 1) << "nothing is known yet";
  for (int i = 0; i < 5; ++i) Answer(queue, *queue.TryPop(At(500 * i)).batch);
  fill();
  EXPECT_EQ(retry_after_, 5) << "two requests a second, ten are waiting";
  for (int i = 0; i < 10; ++i) Answer(queue, *queue.TryPop(At(2000 + 500 * i)).batch);
  fill();
  EXPECT_EQ(retry_after_, 5);
  Answer(queue, *queue.TryPop(At(1'000'000)).batch);
  queue.Push(Make(++id));
  queue.Push(Make(++id));
  EXPECT_EQ(retry_after_, 5) << "the time in which nothing waited does not count";
}

TEST_F(BatchQueueTest, RequestsOfClientsThatLeftMakeRoomInAFullQueue) {
  BatchQueue queue("m", {.capacity = 1, .batch_size = 1}, metrics_);
  Waiting gone = Make(1);
  gone.context.cancelled = std::make_shared<std::atomic<bool>>(false);
  auto cancelled = gone.context.cancelled;
  queue.Push(std::move(gone));
  cancelled->store(true);
  queue.Push(Make(2));
  EXPECT_THAT(answers_, ElementsAre(std::pair(1, Code::kUnavailable)));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(2));
}

TEST_F(BatchQueueTest, AnExpiredRequestIsAnsweredAndNeverRun) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  Waiting expires = Make(1);
  expires.context.deadline = At(5);
  queue.Push(std::move(expires));
  queue.Push(Make(2));
  auto decision = queue.TryPop(At(6));
  EXPECT_THAT(answers_, ElementsAre(std::pair(1, Code::kDeadlineExceeded)));
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(2));
  EXPECT_EQ(metrics_.rejected[static_cast<std::size_t>(RejectReason::kDeadline)].Value(), 1u);
}

TEST_F(BatchQueueTest, ABatchIsCutWhereItWouldMissADeadline) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  for (int i = 0; i < 5; ++i) queue.times().Record(1, milliseconds(10));
  for (int id = 1; id <= 3; ++id) {
    Waiting waiting = Make(id);
    waiting.context.deadline = At(25);  // two rows take 20 ms, three 30
    queue.Push(std::move(waiting));
  }
  auto decision = queue.TryPop(At(0));
  EXPECT_THAT(Ids(*decision.batch), ElementsAre(1, 2));
  EXPECT_EQ(decision.batch->reason, BatchReason::kDeadline);
}

TEST_F(BatchQueueTest, ASlowSizeIsNotFormed) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 4}, metrics_);
  for (int i = 0; i < 5; ++i) {
    queue.times().Record(1, milliseconds(1));
    queue.times().Record(2, milliseconds(1));
    queue.times().Record(4, milliseconds(40));
  }
  for (int id = 1; id <= 4; ++id) queue.Push(Make(id));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(1, 2));
}

TEST_F(BatchQueueTest, SizesThatAModelWasCompiledForAreFormed) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.SetSizes({1, 2, 4, 8});
  for (int id = 1; id <= 7; ++id) queue.Push(Make(id));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(5, 6));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(7));
  EXPECT_FALSE(queue.TryPop(At(0)).batch);
}

TEST_F(BatchQueueTest, ASizeThatCannotBeFormedRunsAsItIs) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.SetSizes({2, 8});
  Waiting large = Make(1);
  large.sample.rows = 3;
  queue.Push(std::move(large));
  EXPECT_EQ(queue.TryPop(At(0)).batch->rows, 3);
}

TEST_F(BatchQueueTest, ADelayIsNotWaitedForWhileNobodyElseIsAround) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8, .max_batch_delay = milliseconds(50)}, metrics_);
  queue.Push(Make(1));
  EXPECT_THAT(Ids(*queue.TryPop(At(0)).batch), ElementsAre(1))
      << "one client in a closed loop never waits for itself";
}

TEST_F(BatchQueueTest, ADelayWaitsForTheConcurrencySeenBeforeAndEndsOnTime) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8, .max_batch_delay = milliseconds(50)}, metrics_);
  queue.Push(Make(1));
  queue.Push(Make(2));
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));  // two at once were seen

  queue.Push(Make(3, 10));
  auto held = queue.TryPop(At(10));
  EXPECT_FALSE(held.batch);
  EXPECT_EQ(held.ask_again, At(60));
  auto over = queue.TryPop(At(60));
  EXPECT_THAT(Ids(*over.batch), ElementsAre(3));
  EXPECT_EQ(over.batch->reason, BatchReason::kDelayOver);
  EXPECT_EQ(over.batch->held, milliseconds(50));
}

TEST_F(BatchQueueTest, ADelayEndsWhenEverybodyWhoMayComeIsThere) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8, .max_batch_delay = milliseconds(50)}, metrics_);
  queue.Push(Make(1));
  queue.Push(Make(2));
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));
  queue.Push(Make(3, 10));
  ASSERT_FALSE(queue.TryPop(At(10)).batch);
  queue.Push(Make(4, 12));
  EXPECT_THAT(Ids(*queue.TryPop(At(12)).batch), ElementsAre(3, 4));
}

TEST_F(BatchQueueTest, ClientsThatWereJustAnsweredGetAMomentToShareALongBatch) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.times().Learn(1, milliseconds(16));
  queue.times().Learn(2, milliseconds(32));
  queue.Push(Make(1));
  queue.Push(Make(2));
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));
  queue.Push(Make(3, 40));
  auto held = queue.TryPop(At(40));
  EXPECT_FALSE(held.batch);
  EXPECT_EQ(held.ask_again, At(41)) << "a 32nd of 32 ms";
  queue.Push(Make(4, 40));
  EXPECT_THAT(Ids(*queue.TryPop(At(40)).batch), ElementsAre(3, 4)) << "nobody else is around";
}

TEST_F(BatchQueueTest, ThatMomentBeginsWhenAWorkerIsFree) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.times().Learn(1, milliseconds(16));
  queue.times().Learn(2, milliseconds(32));
  queue.Push(Make(1));
  queue.Push(Make(2));
  queue.SetSizes({1, 2});
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));
  queue.Push(Make(3, 5));  // it waits for the end of a batch that another client has
  EXPECT_EQ(queue.TryPop(At(40)).ask_again, At(41));
  EXPECT_FALSE(queue.TryPop(At(40)).batch);
  auto over = queue.TryPop(At(41));
  ASSERT_TRUE(over.batch);
  EXPECT_EQ(over.batch->reason, BatchReason::kDelayOver);
  EXPECT_EQ(over.batch->held, milliseconds(1));
}

TEST_F(BatchQueueTest, ASmallModelWaitsForNobody) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.times().Learn(1, milliseconds(1));
  queue.times().Learn(2, milliseconds(2));
  queue.Push(Make(1));
  queue.Push(Make(2));
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));
  queue.Push(Make(3, 5));
  EXPECT_THAT(Ids(*queue.TryPop(At(5)).batch), ElementsAre(3));
}

TEST_F(BatchQueueTest, ADelayNeverRunsIntoADeadline) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8, .max_batch_delay = milliseconds(50)}, metrics_);
  queue.times().Record(1, milliseconds(5));
  queue.Push(Make(1));
  queue.Push(Make(2));
  Answer(queue, std::move(*queue.TryPop(At(0)).batch));
  Waiting urgent = Make(3, 10);
  urgent.context.deadline = At(30);
  queue.Push(std::move(urgent));
  EXPECT_EQ(queue.TryPop(At(10)).ask_again, At(20)) << "30 less the 10 that a batch of two would take";
}

TEST_F(BatchQueueTest, CloseRefusesNewRequestsAndStillServesWaitingOnes) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 1}, metrics_);
  queue.Push(Make(1));
  queue.Close();
  queue.Push(Make(2));
  EXPECT_THAT(answers_, ElementsAre(std::pair(2, Code::kUnavailable)));
  std::stop_source never;
  EXPECT_THAT(Ids(*queue.PopBatch(never.get_token())), ElementsAre(1));
  EXPECT_FALSE(queue.PopBatch(never.get_token()));
}

TEST_F(BatchQueueTest, AStoppedWorkerWakesAndLeavesTheRest) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 1}, metrics_);
  std::stop_source stop;
  std::jthread worker([&] { EXPECT_FALSE(queue.PopBatch(stop.get_token())); });
  stop.request_stop();
  queue.Wake();
  worker.join();
}

TEST_F(BatchQueueTest, AnswerAllLeavesNobodyWaiting) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 1}, metrics_);
  for (int id = 1; id <= 3; ++id) queue.Push(Make(id));
  queue.AnswerAll({Code::kUnavailable, "stopping"});
  EXPECT_EQ(answers_.size(), 3u);
  EXPECT_EQ(queue.Depth(), 0u);
}

TEST_F(BatchQueueTest, WhatComesBackKeepsItsPlaceAndIsNotRefused) {
  BatchQueue queue("m", {.capacity = 3, .batch_size = 2}, metrics_);
  for (int id = 1; id <= 3; ++id) queue.Push(Make(id, id));
  auto batch = std::move(*queue.TryPop(At(10)).batch);
  EXPECT_THAT(Ids(batch), ElementsAre(1, 2));
  queue.Push(Make(4, 11));
  queue.Push(Make(5, 12));  // the queue is full now
  queue.Close();
  queue.Return(std::move(batch.items));
  EXPECT_EQ(queue.Depth(), 5U);
  auto next = std::move(*queue.TryPop(SteadyClock::now()).batch);
  EXPECT_THAT(Ids(next), ElementsAre(1, 2));
  Answer(queue, std::move(next));
  EXPECT_THAT(Ids(*queue.TryPop(SteadyClock::now()).batch), ElementsAre(3, 4));
}

TEST_F(BatchQueueTest, ShapesThatComeBackTakeTurns) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.Push(Make(1, -2));
  Waiting other = Make(2, -1);
  other.sample.shape_key = 7;
  queue.Push(std::move(other));
  std::vector<int> order;
  for (int turn = 0; turn < 4; ++turn) {
    auto batch = std::move(*queue.TryPop(SteadyClock::now()).batch);
    order.push_back(Ids(batch).front());
    queue.Return(std::move(batch.items));
  }
  EXPECT_THAT(order, ElementsAre(1, 2, 1, 2));
}

TEST_F(BatchQueueTest, WhatComesBackToAnAbandonedQueueIsAnswered) {
  BatchQueue queue("m", {.capacity = 10, .batch_size = 8}, metrics_);
  queue.Push(Make(1));
  auto batch = std::move(*queue.TryPop(At(0)).batch);
  queue.Close();
  queue.AnswerAll({Code::kUnavailable, "over"});
  queue.Return(std::move(batch.items));
  EXPECT_EQ(queue.Depth(), 0U);
  EXPECT_EQ(answers_.at(0), std::pair(1, Code::kUnavailable));
}

TEST_F(BatchQueueTest, EveryRequestIsAnsweredExactlyOnceUnderLoadFromManyThreads) {
  BatchQueue queue("m", {.capacity = 50, .batch_size = 7, .max_batch_delay = milliseconds(1)}, metrics_);
  constexpr int kProducers = 4;
  constexpr int kEach = 3000;
  std::atomic<int> answered{0};
  std::atomic<int> run{0};
  std::stop_source stop;
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 3; ++i) {
      workers.emplace_back([&] {
        while (auto batch = queue.PopBatch(stop.get_token())) {
          ASSERT_LE(batch->rows, 7);
          run += static_cast<int>(batch->items.size());
          Answer(queue, std::move(*batch));
        }
      });
    }
    std::vector<std::jthread> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.emplace_back([&, p] {
        for (int i = 0; i < kEach; ++i) {
          Waiting waiting{Sample(), RequestContext(), Responder([&](const Result<Output>&) { ++answered; }),
                          SteadyClock::now()};
          waiting.sample.shape_key = static_cast<std::uint64_t>(i % 2);
          waiting.context.priority = static_cast<Priority>(i % kPriorities);
          if (i % 5 == 0) waiting.context.cancelled = std::make_shared<std::atomic<bool>>(true);
          if (i % 7 == 0) waiting.context.deadline = SteadyClock::now() + std::chrono::microseconds(p * 50);
          queue.Push(std::move(waiting));
        }
      });
    }
    producers.clear();
    queue.Close();
  }
  EXPECT_EQ(answered.load(), kProducers * kEach);
  EXPECT_GT(run.load(), 0);
  EXPECT_EQ(queue.Depth(), 0u);
  EXPECT_EQ(metrics_.queue_depth.Value(), 0);
}

}  // namespace
}  // namespace serve
