#include "serve/model/autoscaler.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using namespace testing_model;

TEST(AutoscaleRuleTest, AWorkerComesAtTheSecondLookAndNeverMoreThanMax) {
  AutoscaleRule rule({.high = milliseconds(100)});
  const TimePoint start{};
  EXPECT_EQ(rule.Decide(start, 1, 1, 2, milliseconds(101)), 1) << "one look may be chance";
  EXPECT_EQ(rule.Decide(start, 1, 1, 2, milliseconds(101)), 2);
  for (int look = 0; look < 5; ++look) EXPECT_EQ(rule.Decide(start, 2, 1, 2, milliseconds(500)), 2);
}

TEST(AutoscaleRuleTest, ABusyLookMustBeFollowedByAnother) {
  AutoscaleRule rule({.high = milliseconds(100)});
  const TimePoint now{};
  for (int look = 0; look < 5; ++look) {
    EXPECT_EQ(rule.Decide(now, 1, 1, 4, milliseconds(200)), 1);
    EXPECT_EQ(rule.Decide(now, 1, 1, 4, milliseconds(50)), 1);
  }
}

TEST(AutoscaleRuleTest, AWorkerGoesAfterACalmTimeAndEachNeedsItsOwn) {
  AutoscaleRule rule({.high = milliseconds(100), .calm = seconds(30)});
  const TimePoint start{};
  EXPECT_EQ(rule.Decide(start, 3, 1, 3, milliseconds(0)), 3);
  EXPECT_EQ(rule.Decide(start + seconds(29), 3, 1, 3, milliseconds(0)), 3);
  EXPECT_EQ(rule.Decide(start + seconds(30), 3, 1, 3, milliseconds(0)), 2);
  EXPECT_EQ(rule.Decide(start + seconds(59), 2, 1, 3, milliseconds(0)), 2);
  EXPECT_EQ(rule.Decide(start + seconds(60), 2, 1, 3, milliseconds(0)), 1);
  EXPECT_EQ(rule.Decide(start + seconds(99), 1, 1, 3, milliseconds(0)), 1);
}

TEST(AutoscaleRuleTest, ATimeBetweenTheTwoBoundsChangesNothing) {
  AutoscaleRule rule({.high = milliseconds(100), .calm = seconds(30)});
  const TimePoint start{};
  EXPECT_EQ(rule.Decide(start, 2, 1, 3, milliseconds(0)), 2);
  EXPECT_EQ(rule.Decide(start + seconds(29), 2, 1, 3, milliseconds(60)), 2) << "the calm is over";
  EXPECT_EQ(rule.Decide(start + seconds(31), 2, 1, 3, milliseconds(0)), 2);
  EXPECT_EQ(rule.Decide(start + seconds(61), 2, 1, 3, milliseconds(0)), 1);
}

TEST(AutoscaleRuleTest, BoundsThatWereChangedAreKept) {
  AutoscaleRule rule({});
  EXPECT_EQ(rule.Decide({}, 1, 2, 3, milliseconds(0)), 2);
  EXPECT_EQ(rule.Decide({}, 5, 2, 3, milliseconds(999)), 3);
}

bool Eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + seconds(30);
  while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
  return condition();
}

TEST(AutoscalerTest, WorkersFollowTheQueueAndGoWhenItIsCalm) {
  std::atomic<bool> stop{false};
  const auto function = [](const std::vector<Tensor>& inputs) {
    std::this_thread::sleep_for(milliseconds(5));
    return FakeRuntime::Echo(inputs);
  };
  VersionOptions options;
  options.inline_limit = std::chrono::microseconds(0);
  ServedModels models;
  auto version = MakeVersion(function, options);
  version->Scale(1, 3, false);
  auto fixed = MakeVersion(function, options, "fixed");
  fixed->Scale(1, 1, false);
  ASSERT_TRUE(models.Add(version).ok());
  ASSERT_TRUE(models.Add(fixed).ok());
  const Autoscaler autoscaler(models, {milliseconds(2), milliseconds(20), milliseconds(50)});
  std::vector<std::jthread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&] {
      while (!stop) (void)Ask(*version, "1").get();
    });
  }
  EXPECT_TRUE(Eventually([&] { return version->RunningWorkers() == 3; }));
  EXPECT_GE(version->autoscaled().first, 2);
  EXPECT_THAT(version->autoscaled().second, testing::HasSubstr("a request would wait"));
  stop = true;
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return version->RunningWorkers() == 1; }));
  EXPECT_EQ(version->MinWorkers(), 1);
  EXPECT_EQ(version->MaxWorkers(), 3);
  EXPECT_EQ(fixed->RunningWorkers(), 1);
  EXPECT_EQ(fixed->autoscaled().first, 0);
  version.reset();
  fixed.reset();
}

}  // namespace
}  // namespace serve
