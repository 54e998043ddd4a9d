#include "serve/model/traffic_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using nlohmann::json;
using testing::HasSubstr;

TrafficPlan Parsed(const char* text) {
  TrafficPlan plan;
  const Status status = ChangePlan(json::parse(text), "1.0", plan);
  EXPECT_TRUE(status.ok()) << status.message;
  return plan;
}

std::string Refusal(const char* text) {
  TrafficPlan plan;
  const Status status = ChangePlan(json::parse(text), "1.0", plan);
  EXPECT_EQ(status.code, Code::kInvalidArgument) << text;
  return status.message;
}

TEST(TrafficPlanTest, TheDefaultVersionGetsWhatTheWeightsLeave) {
  const TrafficPlan plan = Parsed(R"({"weights": {"2.0": 10, "3.0": 0.25}})");
  EXPECT_EQ(plan.PointsOf("1.0", "1.0"), 8975U);
  EXPECT_EQ(plan.PointsOf("2.0", "1.0"), 1000U);
  EXPECT_EQ(plan.PointsOf("3.0", "1.0"), 25U);
  EXPECT_EQ(plan.PointsOf("4.0", "1.0"), 0U);
  EXPECT_EQ(TrafficPlan().PointsOf("1.0", "1.0"), kAllPoints);
}

TEST(TrafficPlanTest, AVersionOfNoWeightHasNoShare) {
  EXPECT_EQ(Parsed(R"({"weights": {"1.0": 100, "2.0": 0}})").shares.size(), 1U);
}

TEST(TrafficPlanTest, WhatCannotBeIsRefusedWithWhatIsAllowed) {
  EXPECT_THAT(Refusal("[]"), HasSubstr("JSON object"));
  EXPECT_THAT(Refusal("null"), HasSubstr("application/json"));
  EXPECT_THAT(Refusal(R"({"wieghts": {}})"), HasSubstr("unknown member `wieghts`; known: weights"));
  EXPECT_THAT(Refusal(R"({"weights": {}})"), HasSubstr("`weights` must be an object"));
  EXPECT_THAT(Refusal(R"({"weights": {"1.0": 90, "2.0": 20}})"), HasSubstr("110 % together"));
  EXPECT_THAT(Refusal(R"({"weights": {"2.0": -1}})"), HasSubstr("`weights.2.0` must be a percentage"));
  EXPECT_THAT(Refusal(R"({"weights": {"2.0": "10"}})"), HasSubstr("a percentage"));
  EXPECT_THAT(Refusal(R"({"weights": {"2.0": 1e300}})"), HasSubstr("a percentage"));
  EXPECT_THAT(Refusal(R"({"aliases": {"a/b": "2.0"}})"), HasSubstr("not `a/b`"));
  EXPECT_THAT(Refusal(R"({"aliases": {"a": 2}})"), HasSubstr("the text of a version"));
  EXPECT_THAT(Refusal(R"({"shadow": {"percent": 5}})"), HasSubstr("with `version`"));
  EXPECT_THAT(Refusal(R"({"shadow": {"version": "2", "tolerance": -1}})"), HasSubstr("0 or more"));
  EXPECT_THAT(Refusal(R"({"shadow": {"version": "2", "much": 1}})"), HasSubstr("unknown member `much`"));
  EXPECT_THAT(Refusal(R"({"weights": {"2.0": 1}, "rule": {"promote_after": 0}})"), HasSubstr("from 1 to"));
  EXPECT_THAT(Refusal(R"({"rule": {}})"), HasSubstr("exactly these two"));
  EXPECT_THAT(Refusal(R"({"sticky_header": "a b"})"), HasSubstr("the name of a header"));
  EXPECT_THAT(Refusal(R"({"sticky_header": 1})"), HasSubstr("the name of a header"));
}

TEST(TrafficPlanTest, AChangeTouchesTheMembersThatItNames) {
  TrafficPlan plan = Parsed(
      R"({"weights": {"2.0": 10}, "rule": {"promote_after": 7}, "aliases": {"a": "1.0", "b": "2.0"},
          "shadow": {"version": "2.0", "percent": 5}})");
  ASSERT_TRUE(ChangePlan(json::parse(R"({"aliases": {"a": null, "c": "2.0"}})"), "1.0", plan).ok());
  EXPECT_EQ(plan.aliases.size(), 2U);
  EXPECT_EQ(plan.rule->requests, 7U);
  EXPECT_EQ(plan.shadow->points, 500U);
  ASSERT_TRUE(ChangePlan(json::parse(R"({"weights": {"2.0": 50}, "shadow": null})"), "1.0", plan).ok());
  EXPECT_FALSE(plan.rule) << "it was made for other weights";
  EXPECT_FALSE(plan.shadow);
  ASSERT_TRUE(ChangePlan(json::parse(R"({"weights": null, "aliases": null})"), "1.0", plan).ok());
  EXPECT_TRUE(plan.empty());
}

TEST(TrafficPlanTest, ItsJsonIsReadAgain) {
  const char* text =
      R"({"weights": {"2.0": 12.5, "1.0": 87.5}, "aliases": {"a": "2.0"}, "sticky_header": "X-User",
          "shadow": {"version": "3.0", "percent": 5, "tolerance": 0.5},
          "rule": {"promote_after": 9, "max_error_increase": 0.1, "max_p99_ratio": 2.0, "p99_slack_ms": 1.0,
                   "min_seconds": 60}})";
  EXPECT_EQ(json(PlanJson(Parsed(text))), json::parse(text));
}

TEST(TrafficPlanTest, PointsByChanceAreSpreadEvenly) {
  constexpr int kDraws = 100'000;
  int below = 0;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint32_t point = RandomPoint();
    ASSERT_LT(point, kAllPoints);
    below += point < kAllPoints / 10 ? 1 : 0;
  }
  EXPECT_NEAR(below, kDraws / 10, 600);  // six times the standard deviation
}

TEST(TrafficPlanTest, StickyPointsAreSpreadEvenlyAndStay) {
  int below = 0;
  for (int i = 0; i < 10'000; ++i) below += StickyPoint("m", std::to_string(i)) < kAllPoints / 10 ? 1 : 0;
  EXPECT_NEAR(below, 1000, 180);
  EXPECT_EQ(StickyPoint("m", "joe"), StickyPoint("m", "joe"));
  EXPECT_NE(StickyPoint("m", "joe"), StickyPoint("n", "joe"));
  EXPECT_EQ(StickyPoint("news", "client-17"), 2141U) << "another build must not move clients";
}

}  // namespace
}  // namespace serve
