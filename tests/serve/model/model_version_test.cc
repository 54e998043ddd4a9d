#include "serve/model/model_version.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <latch>
#include <stdexcept>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using namespace testing_model;

/// Uses so much time of a CPU, however many others want it.
void BeBusy(milliseconds time) {
  const auto now = [] {
    timespec used{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
  };
  const auto end = now() + time;
  while (now() < end) {
  }
}

VersionOptions Batches(std::int64_t size) {
  VersionOptions options;
  options.scheduler.batch_size = size;
  return options;
}

TEST(ModelVersionTest, AnswersEachRequestWithItsOwnRow) {
  auto version = MakeVersion(FakeRuntime::Echo, Batches(4));
  version->Scale(2, 2, false);
  std::vector<std::future<Result<ModelVersion::Computed>>> answers;
  for (int i = 0; i < 50; ++i) answers.push_back(Ask(*version, std::to_string(i)));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Value(answers[static_cast<std::size_t>(i)].get()), i);
}

TEST(ModelVersionTest, BadInputIsAnsweredBeforeTheQueue) {
  auto version = MakeVersion(FakeRuntime::Echo);
  version->Scale(1, 1, false);
  const auto result = Ask(*version, "x").get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInvalidArgument);
}

TEST(ModelVersionTest, WithoutAWorkerTheAnswerComesAtOnceAndSaysWhatToDo) {
  auto version = MakeVersion(FakeRuntime::Echo);
  const auto result = Ask(*version, "1").get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_THAT(result.error().message, HasSubstr("use scale workers API"));
}

/// Holds the workers inside the model until it is opened.
class Gate {
 public:
  Result<RunOutputs> operator()(const std::vector<Tensor>& inputs) {
    entered_.store(true);
    entered_.notify_all();
    open_.wait(false);
    return FakeRuntime::Echo(inputs);
  }
  void WaitUntilEntered() { entered_.wait(false); }
  void Open() {
    open_.store(true);
    open_.notify_all();
  }

 private:
  std::atomic<bool> entered_{false};
  std::atomic<bool> open_{false};
};

TEST(ModelVersionTest, OneSampleThatSpoilsABatchFailsAloneAndTheOthersAreAnswered) {
  Gate gate;
  std::atomic<bool> first{true};
  auto version = MakeVersion(
      [&](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
        if (first.exchange(false)) return gate(inputs);
        for (std::int64_t i = 0; i < inputs[0].rows(); ++i) {
          if (inputs[0].as<float>()[i] == 13) return Status{Code::kPredictionFailed, "13 is bad luck"};
        }
        return FakeRuntime::Echo(inputs);
      },
      Batches(16));
  version->Scale(1, 1, false);
  auto blocker = Ask(*version, "0");  // the others gather into one batch behind it
  gate.WaitUntilEntered();
  std::vector<std::future<Result<ModelVersion::Computed>>> answers;
  for (int i = 10; i < 18; ++i) answers.push_back(Ask(*version, std::to_string(i)));
  gate.Open();
  EXPECT_TRUE(blocker.get());
  for (int i = 10; i < 18; ++i) {
    const auto result = answers[static_cast<std::size_t>(i - 10)].get();
    EXPECT_EQ(result.has_value(), i != 13) << i;
    if (result) {
      EXPECT_EQ(Value(result), i);
    }
  }
}

TEST(ModelVersionTest, AModelThatAnswersWithTooFewRowsCostsAnErrorThatNamesBoth) {
  auto version = MakeVersion([](const std::vector<Tensor>&) -> Result<RunOutputs> {
    RunOutputs outputs;
    outputs.tensors.push_back(Tensor::Empty(DType::kFloat32, {3, 1}));
    return outputs;
  });
  version->Scale(1, 1, false);
  const auto result = Ask(*version, "1").get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kPredictionFailed);
  EXPECT_THAT(result.error().message, HasSubstr("3 rows"));
}

TEST(ModelVersionTest, AnExceptionCostsItsBatchAndNotTheWorker) {
  std::atomic<int> calls{0};
  auto version = MakeVersion([&](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
    if (calls++ == 0) throw std::runtime_error("forgotten");
    return FakeRuntime::Echo(inputs);
  });
  version->Scale(1, 1, false);
  EXPECT_THAT(Ask(*version, "1").get().error().message, HasSubstr("forgotten"));
  EXPECT_EQ(Value(Ask(*version, "2").get()), 2);
}

TEST(ModelVersionTest, AFullQueueIsAnsweredAtOnceAndTheRestIsServed) {
  Gate gate;
  VersionOptions options = Batches(1);
  options.scheduler.capacity = 2;
  auto version = MakeVersion(std::ref(gate), options);
  version->Scale(1, 1, false);
  auto running = Ask(*version, "1");
  gate.WaitUntilEntered();
  auto second = Ask(*version, "2");
  auto third = Ask(*version, "3");
  EXPECT_EQ(Ask(*version, "4").get().error().code, Code::kResourceExhausted);
  gate.Open();
  EXPECT_EQ(Value(running.get()), 1);
  EXPECT_EQ(Value(second.get()), 2);
  EXPECT_EQ(Value(third.get()), 3);
}

TEST(ModelVersionTest, ARequestOfAClientThatLeftIsNeverRun) {
  Gate gate;
  std::atomic<int> runs{0};
  auto version = MakeVersion([&](const std::vector<Tensor>& inputs) {
    ++runs;
    return gate(inputs);
  });
  version->Scale(1, 1, false);
  auto running = Ask(*version, "1");
  gate.WaitUntilEntered();
  RequestContext context;
  context.cancelled = std::make_shared<std::atomic<bool>>(false);
  auto cancelled = context.cancelled;
  auto gone = Ask(*version, "2", context);
  cancelled->store(true);
  gate.Open();
  EXPECT_FALSE(gone.get());
  EXPECT_TRUE(running.get());
  EXPECT_EQ(runs.load(), 1);
}

TEST(ModelVersionTest, SubmitTellsTheDeadlineThatTheAnswerIsOwedBy) {
  VersionOptions options;
  options.response_timeout = milliseconds(1500);
  auto version = MakeVersion(FakeRuntime::Echo, options);
  version->Scale(1, 1, false);
  RequestContext context;
  EXPECT_EQ(version->Submit(NumberRequest("1"), context, [](const auto&) {}).deadline,
            context.arrival + milliseconds(1500));
  context.deadline = context.arrival + milliseconds(20);
  EXPECT_EQ(version->Submit(NumberRequest("1"), context, [](const auto&) {}).deadline, context.deadline);
}

TEST(ModelVersionTest, ScalingDownUnderLoadLosesNoRequest) {
  auto version = MakeVersion(FakeRuntime::Echo, [] {
    VersionOptions options = Batches(2);
    options.scheduler.capacity = 100'000;
    return options;
  }());
  version->Scale(4, 4, false);
  std::vector<std::future<Result<ModelVersion::Computed>>> answers;
  for (int i = 0; i < 2000; ++i) {
    answers.push_back(Ask(*version, "7"));
    if (i % 100 == 0)
      version->Scale(1 + i / 100 % 4, 4, i % 200 == 0), version->Scale(1, 1 + i / 100 % 3, false);
  }
  for (auto& answer : answers) ASSERT_EQ(Value(answer.get()), 7);
  version->Scale(3, 3, true);
  EXPECT_EQ(version->Read().workers.size(), 3u);
}

TEST(ModelVersionTest, ScalingToZeroAnswersWhoWaits) {
  Gate gate;
  auto version = MakeVersion(std::ref(gate));
  version->Scale(1, 1, false);
  auto running = Ask(*version, "1");
  gate.WaitUntilEntered();
  auto waiting = Ask(*version, "2");
  version->Scale(0, 0, false);
  EXPECT_EQ(waiting.get().error().code, Code::kUnavailable);
  gate.Open();
  EXPECT_EQ(Value(running.get()), 1);
}

TEST(ModelVersionTest, CloseServesWhatWaitsAndRefusesWhatComes) {
  Gate gate;
  auto version = MakeVersion(std::ref(gate));
  version->Scale(1, 1, false);
  auto running = Ask(*version, "1");
  gate.WaitUntilEntered();
  auto waiting = Ask(*version, "2");
  std::jthread closer([&] { EXPECT_TRUE(version->Close(TimePoint::max())); });
  // Requests that still came before the close are served like the waiting one; ask until one is refused for
  // it.
  std::vector<std::future<Result<ModelVersion::Computed>>> early;
  for (bool refused = false; !refused;) {
    auto answer = Ask(*version, "3");
    if (answer.wait_for(milliseconds(0)) == std::future_status::ready) {
      refused = answer.get().error().code == Code::kUnavailable;
    } else {
      early.push_back(std::move(answer));
    }
  }
  gate.Open();
  EXPECT_EQ(Value(running.get()), 1);
  EXPECT_EQ(Value(waiting.get()), 2);
}

TEST(ModelVersionTest, CloseGivesUpOnAStuckModelAndAnswersTheRest) {
  Gate gate;
  auto version = MakeVersion(std::ref(gate));
  version->Scale(1, 1, false);
  auto running = Ask(*version, "1");
  gate.WaitUntilEntered();
  auto waiting = Ask(*version, "2");
  EXPECT_FALSE(version->Close(SteadyClock::now() + milliseconds(20)));
  EXPECT_EQ(waiting.get().error().code, Code::kUnavailable);
  gate.Open();
  EXPECT_TRUE(running.get());
}

TEST(ModelVersionTest, AFastModelRunsOnTheThreadThatAsks) {
  std::atomic<std::thread::id> ran_on;
  VersionOptions options;
  options.inline_limit = std::chrono::seconds(1);
  auto version = MakeVersion(
      [&](const std::vector<Tensor>& inputs) {
        ran_on = std::this_thread::get_id();
        return FakeRuntime::Echo(inputs);
      },
      options);
  version->Scale(1, 1, false);
  ASSERT_TRUE(version->WarmUp(*version->handler().Prepare(NumberRequest("1"))).ok());
  ran_on = std::thread::id();
  // The worker has to be idle before anybody can stand in for it.
  do {
    EXPECT_EQ(Value(Ask(*version, "2").get()), 2);
  } while (ran_on.load() != std::this_thread::get_id());
}

TEST(ModelVersionTest, WorkersOfASlowModelGoBehindOthers) {
  for (const bool slow : {true, false}) {
    std::atomic<int> nice{-1};
    VersionOptions options;
    options.inline_limit = slow ? std::chrono::microseconds(1) : std::chrono::seconds(10);
    options.slow_worker_nice = 7;
    auto version = MakeVersion(
        [&](const std::vector<Tensor>& inputs) {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
          nice = getpriority(PRIO_PROCESS, 0);
          return FakeRuntime::Echo(inputs);
        },
        options);
    version->Scale(1, 1, false);
    ASSERT_TRUE(version->WarmUp(*version->handler().Prepare(NumberRequest("1"))).ok());
    const int mine = getpriority(PRIO_PROCESS, 0);
    EXPECT_EQ(nice.load(), mine) << "the thread that loads keeps its own";
    EXPECT_EQ(Value(Ask(*version, "2").get()), 2);
    EXPECT_EQ(nice.load(), slow ? std::max(7, mine) : mine);
  }
}

TEST(ModelVersionTest, AVersionThatWasSlowOnACallersThreadGoesBackToWorkersForAWhile) {
  for (const milliseconds pause : {milliseconds(3'600'000), milliseconds(1)}) {
    std::atomic<bool> slow{false};
    std::atomic<std::thread::id> ran_on;
    const std::thread::id caller = std::this_thread::get_id();
    VersionOptions options;
    options.inline_limit = std::chrono::milliseconds(1);
    options.inline_pause = pause;
    auto version = MakeVersion(
        [&](const std::vector<Tensor>& inputs) {
          ran_on = std::this_thread::get_id();
          if (slow.load() && ran_on.load() == caller) BeBusy(milliseconds(60));
          return FakeRuntime::Echo(inputs);
        },
        options);
    version->Scale(1, 1, false);
    ASSERT_TRUE(version->WarmUp(*version->handler().Prepare(NumberRequest("1"))).ok());
    ran_on = std::thread::id();
    for (int i = 0; i < 1000 && ran_on.load() != std::this_thread::get_id(); ++i) Ask(*version, "1").get();
    ASSERT_EQ(ran_on.load(), std::this_thread::get_id()) << "it ran on this thread while it was fast";
    slow = true;
    ran_on = std::thread::id();
    for (int i = 0; i < 1000 && ran_on.load() != caller; ++i) Ask(*version, "2").get();
    ASSERT_EQ(ran_on.load(), caller);
    slow = false;
    if (pause > std::chrono::minutes(1)) {
      for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(Value(Ask(*version, "3").get()), 3);
        EXPECT_NE(ran_on.load(), std::this_thread::get_id());
      }
    } else {
      ran_on = std::thread::id();
      for (int i = 0; i < 100'000 && ran_on.load() != caller; ++i) Ask(*version, "4").get();
      EXPECT_EQ(ran_on.load(), caller) << "it may only have been the machine";
    }
  }
}

TEST(ModelVersionTest, ASlowBatchOnAWorkerKeepsAVersionOffTheCallersThreadToo) {
  const std::thread::id caller = std::this_thread::get_id();
  bool seen = false;
  // A worker that just starts is not idle yet, so that the first batch is most often its own.
  for (int i = 0; i < 20 && !seen; ++i) {
    std::atomic<bool> slow{false};
    std::atomic<std::thread::id> ran_on;
    VersionOptions options;
    options.inline_limit = milliseconds(20);
    options.inline_pause = std::chrono::hours(1);
    auto version = MakeVersion(
        [&](const std::vector<Tensor>& inputs) {
          ran_on = std::this_thread::get_id();
          if (slow) BeBusy(milliseconds(500));
          return FakeRuntime::Echo(inputs);
        },
        options);
    ASSERT_TRUE(version->WarmUp(*version->handler().Prepare(NumberRequest("1"))).ok());
    slow = true;
    version->Scale(1, 1, false);
    EXPECT_EQ(Value(Ask(*version, "2").get()), 2);
    seen = ran_on.load() != caller;
    slow = false;
    for (int k = 0; k < 50; ++k) {
      EXPECT_EQ(Value(Ask(*version, "3").get()), 3);
      EXPECT_NE(ran_on.load(), caller);
    }
  }
  EXPECT_TRUE(seen);
}

TEST(ModelVersionTest, TheCheckFindsAModelThatTakesOneRowOnly) {
  auto version = MakeVersion(
      [](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
        if (inputs[0].rows() > 1) return Status{Code::kPredictionFailed, "one row only"};
        return FakeRuntime::Echo(inputs);
      },
      Batches(4));
  Sample sample = *version->handler().Prepare(NumberRequest("1"));
  EXPECT_THAT(version->Check(sample).error().message, HasSubstr("a batch of 2 fails: one row only"));
}

}  // namespace
}  // namespace serve
