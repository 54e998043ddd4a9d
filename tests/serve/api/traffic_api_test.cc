#include "serve/api/traffic_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/traffic_state.h"
#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace testing_model;

class TrafficApiTest : public testing::Test {
 protected:
  TrafficApiTest() {
    AddVersions(models_);
    now_ = SteadyClock::now();
  }
  static void AddVersions(ServedModels& models) {
    for (const char* version : {"1.0", "2.0"}) {
      auto handle = MakeVersion(FakeRuntime::Echo, {}, "m", version);
      handle->Scale(1, 1, false);
      EXPECT_TRUE(models.Add(std::move(handle)).ok());
    }
  }
  json Call(Result<ManagementReply> reply) {
    EXPECT_TRUE(reply) << reply.error().message;
    return reply ? json(reply->body) : json();
  }
  /// So many requests for a version, some of which fail, and a look at the rules after a second.
  void Serve(const char* version, std::uint64_t answered, std::uint64_t failed) {
    ModelMetrics& metrics = (*models_.Find("m", version))->metrics();
    metrics.succeeded.Add(answered - failed);
    metrics.failed.Add(failed);
    for (std::uint64_t i = 0; i < answered - failed; ++i) metrics.total.Observe(0.002);
  }
  void Look() {
    now_ += std::chrono::seconds(1);
    api_.JudgeRules(now_);
  }
  std::uint64_t Decisions(TrafficDecision decision) {
    return (*models_.Find("m", "2.0"))->metrics().decisions[static_cast<std::size_t>(decision)].Value();
  }

  Metrics metrics_{false};
  ServedModels models_;
  Loader loader_{{}, metrics_, {}, {}};
  ManagementApi management_{models_, loader_, ManagementOptions()};
  TrafficApi api_{models_, management_, TrafficOptions()};
  TimePoint now_;
};

TEST_F(TrafficApiTest, APlanIsShownWithWhatCameOfIt) {
  const json shown =
      Call(api_.Replace("m", json::parse(R"({"weights": {"2.0": 10}, "shadow": {"version": "2.0"}})")));
  EXPECT_EQ(shown["weights"], json::parse(R"({"1.0": 90, "2.0": 10})"));
  EXPECT_EQ(shown["sticky_header"], "X-Sticky-Key");
  EXPECT_EQ(shown["why"], "shadow, weights replaced by a call");
  EXPECT_EQ(shown["versions"][1]["percent"], 10.0);
  EXPECT_EQ(shown["shadow"]["results"]["dropped"], 0);
  EXPECT_EQ(shown["history"][0]["default_version"], "1.0");
  EXPECT_EQ(api_.Describe("x").error().code, Code::kModelNotFound);
}

TEST_F(TrafficApiTest, PromoteTakesTheVersionThatIsTriedOut) {
  EXPECT_THAT(api_.Promote("m", "").error().message, HasSubstr("no versions of model m are tried out"));
  (void)Call(api_.Change("m", json::parse(R"({"weights": {"2.0": 10}})")));
  const json promoted = Call(api_.Promote("m", ""));
  EXPECT_EQ(promoted["default_version"], "2.0");
  EXPECT_FALSE(promoted.contains("weights"));
  EXPECT_EQ(Call(api_.Rollback("m"))["weights"]["2.0"], 10);
  EXPECT_EQ(Call(api_.Promote("m", "2.0"))["default_version"], "2.0");
  EXPECT_FALSE(Call(api_.Remove("m")).contains("weights"));
}

TEST_F(TrafficApiTest, SetDefaultCanBeRolledBack) {
  EXPECT_TRUE(management_.SetDefault("m", "1.0"));
  EXPECT_EQ(api_.Rollback("m").error().code, Code::kConflict) << "nothing was changed";
  EXPECT_TRUE(management_.SetDefault("m", "2.0"));
  EXPECT_EQ(Call(api_.Rollback("m"))["default_version"], "1.0");
}

TEST_F(TrafficApiTest, TheRulePromotesByTheCountsSinceItBegan) {
  Serve("2.0", 1000, 1000);  // before the rule
  (void)Call(api_.Replace("m", json::parse(R"({"weights": {"2.0": 10}, "rule": {"promote_after": 500}})")));
  Look();
  EXPECT_THAT(Call(api_.Describe("m"))["rule"]["verdict"].get<std::string>(), HasSubstr("0 of 500 requests"));
  Serve("2.0", 499, 0);
  Serve("1.0", 4500, 2);
  Look();
  EXPECT_EQ(models_.Get("m")->default_version, "1.0");
  Serve("2.0", 1, 0);
  Look();
  const json shown = Call(api_.Describe("m"));
  EXPECT_EQ(shown["default_version"], "2.0");
  EXPECT_THAT(shown["why"].get<std::string>(),
              HasSubstr("version 2.0 was promoted by the rule: no worse: errors up to 1.04 %"));
  EXPECT_EQ(Decisions(TrafficDecision::kPromoted), 1U);
  Look();
  EXPECT_EQ(Decisions(TrafficDecision::kPromoted), 1U);
  const auto described = management_.Describe("m", "");
  EXPECT_THAT(described->body[0]["traffic"]["why"].get<std::string>(), HasSubstr("by the rule"));
}

TEST_F(TrafficApiTest, TheRuleRollsBackToTheDefaultVersion) {
  (void)Call(api_.Replace("m", json::parse(R"({"weights": {"2.0": 10}, "rule": {}})")));
  (void)Call(api_.Change("m", json::parse(R"({"weights": {"2.0": 50}, "rule": {}})")));
  Look();
  Serve("1.0", 100, 0);
  Serve("2.0", 100, 10);
  Look();
  const ServedModels::Entry entry = *models_.Get("m");
  EXPECT_EQ(entry.default_version, "1.0");
  EXPECT_FALSE(entry.traffic.plan) << "not the 10 % of before";
  EXPECT_THAT(entry.traffic.why, HasSubstr("version 2.0 was rolled back by the rule: too many errors"));
  EXPECT_EQ(Decisions(TrafficDecision::kRolledBack), 1U);
}

TEST_F(TrafficApiTest, ARuleMayAskForTime) {
  (void)Call(api_.Replace(
      "m", json::parse(R"({"weights": {"2.0": 10}, "rule": {"promote_after": 10, "min_seconds": 3}})")));
  Look();
  Serve("1.0", 100, 0);
  Serve("2.0", 100, 0);
  for (int second = 1; second < 3; ++second) {
    Look();
    EXPECT_EQ(models_.Get("m")->default_version, "1.0");
  }
  Look();
  EXPECT_EQ(models_.Get("m")->default_version, "2.0");
}

TEST_F(TrafficApiTest, WhatIsKeptComesBack) {
  (void)Call(
      api_.Replace("m", json::parse(R"({"weights": {"2.0": 10}, "rule": {}, "aliases": {"a": "2.0"}})")));
  (void)Call(api_.Promote("m", ""));
  const nlohmann::ordered_json kept = KeptTraffic(*models_.Get("m"));
  ServedModels other;
  AddVersions(other);
  const Status status = RestoreTraffic(other, "m", nlohmann::ordered_json::parse(kept.dump()));
  ASSERT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(json(KeptTraffic(*other.Get("m"))), json(kept));
  ASSERT_TRUE(other.Rollback("m").ok());
  EXPECT_EQ((*other.Find("m", "2.0"))->metrics().traffic_points.Value(), 1000);
  EXPECT_EQ(RestoreTraffic(other, "x", kept).code, Code::kModelNotFound);
  EXPECT_EQ(RestoreTraffic(other, "m", "text").code, Code::kInvalidArgument);
  EXPECT_EQ(RestoreTraffic(other, "m", {{"default_version", "9"}}).code, Code::kVersionNotFound);
  other.DrainAll(TimePoint::max());
}

TEST_F(TrafficApiTest, WithoutAChangeNothingIsKept) { EXPECT_TRUE(KeptTraffic(*models_.Get("m")).is_null()); }

}  // namespace
}  // namespace serve
