// Requests that take several runs of the model, answered in parts.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing_model::NumberHandler;
using testing_model::NumberRequest;

/// The body is a number; each run takes one off, and tells it. At 0 it is finished.
class CountDown final : public Handler {
 public:
  Result<Sample> Prepare(Request request) const override {
    auto sample = NumberHandler().Prepare(std::move(request));
    if (sample) sample->hint.stream = true;
    return sample;
  }
  [[nodiscard]] bool Generates() const override { return true; }
  Result<Step> Next(const Output& output, Sample sample) const override {
    const float value = *output.tensors[0].as<float>();
    Step step;
    step.part = std::to_string(static_cast<int>(value)) + "\n";
    if (value > 0) {
      *sample.inputs[0].as<float>() = value;
      step.more = std::move(sample);
    } else {
      step.answer = output;
    }
    return step;
  }
  Result<Response> Render(const Output&, const RenderHint&) const override { return Response{"whole"}; }
  Result<Sample> SyntheticSample() const override { return InvalidArgument("none"); }
};

Result<RunOutputs> OneLess(const std::vector<Tensor>& inputs) {
  Tensor answer = Tensor::Empty(DType::kFloat32, inputs[0].shape);
  for (std::int64_t i = 0; i < answer.elements(); ++i) {
    answer.as<float>()[i] = inputs[0].as<float>()[i] - 1;
  }
  return RunOutputs{{answer}, {}};
}

/// A client that notes what it gets.
class Client final : public PartSink {
 public:
  void Put(std::string_view part, std::string_view, const std::shared_ptr<std::atomic<bool>>&) override {
    const std::lock_guard lock(mutex_);
    parts_.emplace_back(part);
    if (parts_.size() == leaves_after_) cancelled->store(true);
    if (parts_.size() == full_after_) full_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool Full() const override { return full_; }

  void LeaveAfter(std::size_t parts) { leaves_after_ = parts; }
  void StopReadingAfter(std::size_t parts) { full_after_ = parts; }
  void ReadAgain() { full_ = false; }
  std::vector<std::string> Parts() {
    const std::lock_guard lock(mutex_);
    return parts_;
  }
  bool WaitForParts(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, seconds(20), [&] { return parts_.size() >= count; });
  }
  RequestContext Context() {
    RequestContext context;
    context.cancelled = cancelled;
    context.parts = this;
    return context;
  }

  const std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> parts_;
  std::size_t leaves_after_ = 0;
  std::size_t full_after_ = 0;
  std::atomic<bool> full_{false};
};

class GenerationTest : public testing::Test {
 protected:
  void Load(FakeRuntime::Function function = OneLess) {
    VersionInfo info;
    info.name = "m";
    info.version = "1.0";
    VersionOptions options;
    options.scheduler.batch_size = 8;
    version_ = std::make_shared<ModelVersion>(
        info, options, std::make_unique<FakeRuntime>(std::move(function)), std::make_unique<CountDown>(),
        std::make_shared<ModelMetrics>("m", "1.0"), std::filesystem::path());
    version_->Scale(1, 1, true);
  }
  std::future<Result<ModelVersion::Computed>> Ask(const std::string& number, RequestContext context = {}) {
    return testing_model::Ask(*version_, number, std::move(context));
  }

  std::shared_ptr<ModelVersion> version_;
};

TEST_F(GenerationTest, PartsComeInOrderAndThenAnAnswerWithNothingMore) {
  Load();
  Client client;
  const auto answer = Ask("3", client.Context()).get();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_TRUE(answer->output.tensors.empty());
  EXPECT_THAT(client.Parts(), ElementsAre("2\n", "1\n", "0\n"));
  EXPECT_EQ(version_->Render(answer->output, answer->hint, SteadyClock::now())->body, "");
}

TEST_F(GenerationTest, WhatIsFinishedInOneStepIsAnsweredWhole) {
  Load();
  Client client;
  const auto answer = Ask("1", client.Context()).get();
  EXPECT_THAT(client.Parts(), ElementsAre());
  EXPECT_EQ(version_->Render(answer->output, answer->hint, SteadyClock::now())->body, "whole");
}

TEST_F(GenerationTest, AClientThatTakesNoPartsGetsTheWholeAnswer) {
  Load();
  const auto answer = Ask("5").get();
  ASSERT_TRUE(answer);
  EXPECT_EQ(version_->Render(answer->output, answer->hint, SteadyClock::now())->body, "whole");
}

TEST_F(GenerationTest, GenerationsThatBeganApartShareBatches) {
  std::promise<void> begun;
  std::promise<void> both;
  std::vector<std::int64_t> batches;  // of the only worker
  Load([&](const std::vector<Tensor>& inputs) {
    batches.push_back(inputs[0].rows());
    if (batches.size() == 1) {
      begun.set_value();
      both.get_future().wait();
    }
    return OneLess(inputs);
  });
  Client first;
  Client second;
  auto one = Ask("4", first.Context());
  begun.get_future().wait();
  auto two = Ask("2", second.Context());
  both.set_value();
  ASSERT_TRUE(one.get());
  ASSERT_TRUE(two.get());
  EXPECT_THAT(batches, ElementsAre(1, 2, 2, 1));
  EXPECT_THAT(first.Parts(), ElementsAre("3\n", "2\n", "1\n", "0\n"));
  EXPECT_THAT(second.Parts(), ElementsAre("1\n", "0\n"));
}

TEST_F(GenerationTest, AClientThatLeavesStopsItsGeneration) {
  std::atomic<int> runs = 0;
  Load([&](const std::vector<Tensor>& inputs) {
    ++runs;
    return OneLess(inputs);
  });
  Client client;
  client.LeaveAfter(2);
  const auto answer = Ask("1000", client.Context()).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
  EXPECT_EQ(runs, 2);
}

TEST_F(GenerationTest, AClientThatDoesNotReadMakesNobodyElseWait) {
  Load();
  Client slow;
  slow.StopReadingAfter(2);
  auto waiting = Ask("6", slow.Context());
  ASSERT_TRUE(slow.WaitForParts(2));
  Client other;
  ASSERT_TRUE(Ask("3", other.Context()).get());
  EXPECT_THAT(other.Parts(), ElementsAre("2\n", "1\n", "0\n"));
  EXPECT_THAT(slow.Parts(), ElementsAre("5\n", "4\n"));
  EXPECT_EQ(waiting.wait_for(seconds(0)), std::future_status::timeout);
  slow.ReadAgain();
  ASSERT_TRUE(waiting.get());
  EXPECT_EQ(slow.Parts().size(), 6U);
}

TEST_F(GenerationTest, AnErrorInMidStreamEndsThatRequestAlone) {
  Load([](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
    for (std::int64_t i = 0; i < inputs[0].elements(); ++i) {
      if (inputs[0].as<float>()[i] == 98) return Status{Code::kPredictionFailed, "98 is too much"};
    }
    return OneLess(inputs);
  });
  Client bad;
  Client good;
  auto fails = Ask("100", bad.Context());
  auto works = Ask("40", good.Context());
  const auto answer = fails.get();
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("98 is too much"));
  EXPECT_THAT(bad.Parts(), ElementsAre("99\n", "98\n"));
  EXPECT_TRUE(works.get());
  EXPECT_EQ(good.Parts().size(), 40U);
}

TEST_F(GenerationTest, TheDeadlineIsThatOfTheWholeAnswer) {
  Load();
  Client client;
  client.StopReadingAfter(1);
  RequestContext context = client.Context();
  context.deadline = SteadyClock::now() + milliseconds(200);
  const auto answer = Ask("100", std::move(context)).get();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kDeadlineExceeded);
  EXPECT_THAT(answer.error().message, HasSubstr("for its next step"));
}

TEST_F(GenerationTest, ClosingLetsStreamsEnd) {
  Load();
  Client client;
  client.StopReadingAfter(1);
  auto answer = Ask("50", client.Context());
  ASSERT_TRUE(client.WaitForParts(1));
  auto closed = std::async(std::launch::async, [&] { return version_->Close(TimePoint::max()); });
  client.ReadAgain();
  EXPECT_TRUE(answer.get());
  EXPECT_TRUE(closed.get());
  EXPECT_EQ(client.Parts().size(), 50U);
}

TEST_F(GenerationTest, WhatIsUnfinishedWhenTheGraceIsOverIsAnswered) {
  Load();
  Client client;
  client.StopReadingAfter(1);
  auto answer = Ask("50", client.Context());
  ASSERT_TRUE(client.WaitForParts(1));
  (void)version_->Close(SteadyClock::now() + milliseconds(50));
  EXPECT_EQ(answer.get().error().code, Code::kUnavailable);
}

TEST_F(GenerationTest, ScalingToNoWorkerAnswersWhatIsUnfinished) {
  Load();
  Client client;
  client.StopReadingAfter(1);
  auto answer = Ask("50", client.Context());
  ASSERT_TRUE(client.WaitForParts(1));
  version_->Scale(0, 0, true);
  EXPECT_EQ(answer.get().error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace serve
