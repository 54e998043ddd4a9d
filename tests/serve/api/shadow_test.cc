#include "serve/api/shadow.h"

#include <condition_variable>
#include <functional>
#include <mutex>

#include <gtest/gtest.h>

#include "serve/api/inference_api.h"
#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using nlohmann::json;
using namespace testing_model;

TEST(CompareAnswersTest, NumbersMayDifferByTheTolerance) {
  const auto compare = [](const char* first, const char* second) {
    return CompareAnswers({first}, {second}, 0.01);
  };
  EXPECT_TRUE(compare("[1, 2]", "[1.005, 2]").equal);
  EXPECT_FALSE(compare("[1, 2]", "[1.05, 2]").equal);
  EXPECT_NEAR(compare("[1, 2]", "[1.05, 2]").difference, 0.05, 1e-9);
  EXPECT_TRUE(compare("1000", "1005").equal) << "large numbers are compared relatively";
  EXPECT_FALSE(compare("[1, 2]", "[1]").equal);
  EXPECT_FALSE(compare(R"({"a": 1})", R"({"b": 1})").equal);
  EXPECT_FALSE(compare(R"(["x"])", R"(["y"])").equal);
  EXPECT_FALSE(compare("[1]", "[true]").equal);
}

TEST(CompareAnswersTest, TheLabelMustBeTheSameWhateverTheTolerance) {
  const auto compare = [](const char* first, const char* second) {
    return CompareAnswers({first}, {second}, 1);
  };
  EXPECT_TRUE(compare(R"({"World": 0.9, "Sports": 0.1})", R"({"World": 0.6, "Sports": 0.4})").equal);
  EXPECT_FALSE(compare(R"({"World": 0.6, "Sports": 0.4})", R"({"World": 0.4, "Sports": 0.6})").equal);
}

TEST(CompareAnswersTest, OtherAnswersMustBeTheSameBytes) {
  EXPECT_TRUE(CompareAnswers({"abc"}, {"abc"}, 0).equal);
  EXPECT_FALSE(CompareAnswers({"abc"}, {"abd"}, 1).equal);
  EXPECT_TRUE(CompareAnswers({R"({"model_version": "1", "outputs": []})"},
                             {R"({"model_version": "2", "outputs": []})"}, 0)
                  .equal);
}

/// Two versions behind the inference API; the second one is the shadow.
class ShadowTest : public testing::Test {
 protected:
  void Serve(FakeRuntime::Function second, TrafficOptions options = {}, VersionOptions of_second = {}) {
    api_ = std::make_unique<InferenceApi>(models_, SequenceNames(), options);
    Add("1.0", FakeRuntime::Echo, {});
    Add("2.0", std::move(second), of_second);
    const Status status = models_.ChangeTraffic("m", "test", nullptr, [](TrafficState& state) -> Status {
      TrafficPlan plan;
      plan.shadow = ShadowPlan{"2.0"};
      state.plan = std::make_shared<const TrafficPlan>(plan);
      return {};
    });
    ASSERT_TRUE(status.ok()) << status.message;
  }
  void Add(const char* version, FakeRuntime::Function function, VersionOptions options) {
    auto handle = MakeVersion(std::move(function), options, "m", version);
    handle->Scale(1, 1, false);
    ASSERT_TRUE(models_.Add(std::move(handle)).ok());
  }
  /// The answer of the client; empty: an error.
  std::string Ask(const std::string& body) {
    std::promise<std::string> promise;
    const auto accepted =
        api_->Predict({"m", "", NumberRequest(body), {}}, [&](Result<Prediction> predicted) {
          promise.set_value(predicted ? api_->Render(std::move(*predicted))->body : "");
        });
    while (accepted.run_here && accepted.run_here->RunBorrowed()) {
    }
    return promise.get_future().get();
  }
  std::uint64_t Count(ShadowResult result) {
    return (*models_.Find("m", "2.0"))->metrics().shadow[static_cast<std::size_t>(result)].Value();
  }
  /// Waits until so many copies have ended.
  bool Ended(std::uint64_t count) {
    for (const auto end = SteadyClock::now() + std::chrono::seconds(30); SteadyClock::now() < end;) {
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < kShadowResultNames.size(); ++i) sum += Count(static_cast<ShadowResult>(i));
      if (sum >= count) return sum == count;
      std::this_thread::yield();
    }
    return false;
  }

  ServedModels models_;
  std::unique_ptr<InferenceApi> api_;
};

RunOutputs Plus(const std::vector<Tensor>& inputs, float value) {
  Tensor answer = Tensor::Empty(DType::kFloat32, inputs[0].shape);
  for (std::int64_t i = 0; i < answer.elements(); ++i)
    answer.as<float>()[i] = inputs[0].as<float>()[i] + value;
  return {{answer}, {}};
}

TEST_F(ShadowTest, EqualAnswersAreCounted) {
  Serve(FakeRuntime::Echo);
  EXPECT_EQ(Ask("5"), "5");
  EXPECT_TRUE(Ended(1));
  EXPECT_EQ(Count(ShadowResult::kEqual), 1U);
  EXPECT_EQ((*models_.Find("m", "2.0"))->metrics().succeeded.Value(), 1U);
  EXPECT_EQ((*models_.Find("m", "1.0"))->metrics().succeeded.Value(), 1U) << "rendered twice, counted once";
}

TEST_F(ShadowTest, TheClientGetsTheFirstAnswerWhateverTheShadowSays) {
  Serve([](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
    if (*inputs[0].as<float>() == 7) return Status{Code::kPredictionFailed, "seven"};
    return Plus(inputs, 3);
  });
  EXPECT_EQ(Ask("5"), "5");
  EXPECT_EQ(Ask("7"), "7");
  EXPECT_EQ(Ask("word"), "");
  EXPECT_TRUE(Ended(3));
  EXPECT_EQ(Count(ShadowResult::kDifferent), 1U);
  EXPECT_EQ(Count(ShadowResult::kFailed), 1U);
  EXPECT_EQ(Count(ShadowResult::kDropped), 1U) << "the client's own request was refused";
  EXPECT_DOUBLE_EQ((*models_.Find("m", "2.0"))->metrics().shadow_difference.load(), 0.6);
}

TEST_F(ShadowTest, ABusyShadowLosesCopiesAndDelaysNobody) {
  std::mutex mutex;
  std::condition_variable released;
  bool release = false;
  VersionOptions small;
  small.scheduler.capacity = 4;
  small.inline_limit = std::chrono::microseconds(0);
  Serve(
      [&](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
        std::unique_lock lock(mutex);
        released.wait(lock, [&] { return release; });
        return Plus(inputs, 0);
      },
      {.shadow_backlog = 8}, small);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Ask("5"), "5");
  EXPECT_GE(Count(ShadowResult::kDropped), 92U);
  {
    const std::lock_guard lock(mutex);
    release = true;
  }
  released.notify_all();
  EXPECT_TRUE(Ended(100));
  EXPECT_GE(Count(ShadowResult::kEqual), 1U);
}

TEST_F(ShadowTest, ALargeBodyIsNotCopied) {
  Serve(FakeRuntime::Echo, {.shadow_max_body_bytes = 3});
  EXPECT_EQ(Ask("1234"), "1234");
  EXPECT_EQ(Ask("123"), "123");
  EXPECT_TRUE(Ended(2));
  EXPECT_EQ(Count(ShadowResult::kDropped), 1U);
  EXPECT_EQ(Count(ShadowResult::kEqual), 1U);
}

TEST_F(ShadowTest, NothingIsCopiedAfterTheStop) {
  Serve(FakeRuntime::Echo);
  EXPECT_EQ(Ask("1"), "1");
  EXPECT_TRUE(Ended(1));
  api_->StopShadow();
  EXPECT_EQ(Ask("2"), "2");
  EXPECT_TRUE(Ended(2));
  EXPECT_EQ(Count(ShadowResult::kDropped), 1U);
  models_.DrainAll(TimePoint::max());
}

}  // namespace
}  // namespace serve
