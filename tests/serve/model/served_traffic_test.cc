#include <map>
#include <set>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/model/served_models.h"
#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using namespace testing_model;

class ServedTrafficTest : public testing::Test {
 protected:
  ServedTrafficTest() {
    for (const char* version : {"1.0", "2.0", "3.0"}) {
      auto handle = MakeVersion(FakeRuntime::Echo, {}, "m", version);
      handle->Scale(1, 1, false);
      EXPECT_TRUE(models_.Add(std::move(handle)).ok());
    }
  }

  Status Change(const char* text) {
    return models_.ChangeTraffic("m", "test", nullptr, [&](TrafficState& state) -> Status {
      TrafficPlan plan = state.plan ? *state.plan : TrafficPlan();
      if (plan.sticky_header.empty()) plan.sticky_header = "X-User";
      if (Status status = ChangePlan(json::parse(text), state.default_version, plan); !status.ok())
        return status;
      state.plan = std::make_shared<const TrafficPlan>(std::move(plan));
      return {};
    });
  }
  std::string Choose(const std::string& user = {}, const std::string& model = "m") {
    const auto chosen = models_.Choose(model, {}, [&](std::string_view) { return std::string_view(user); });
    return chosen ? chosen->version->info().version : chosen.error().message;
  }
  std::map<std::string, int> Draw(int count) {
    std::map<std::string, int> drawn;
    for (int i = 0; i < count; ++i) ++drawn[Choose()];
    return drawn;
  }
  std::set<std::string> UsersOf(const std::string& version) {
    std::set<std::string> users;
    for (int i = 0; i < 1000; ++i) {
      const std::string user = "user" + std::to_string(i);
      if (Choose(user) == version) users.insert(user);
    }
    return users;
  }
  std::int64_t Points(const char* version) {
    return (*models_.Find("m", version))->metrics().traffic_points.Value();
  }

  ServedModels models_;
};

TEST_F(ServedTrafficTest, WithoutAPlanAllGoToTheDefaultVersion) {
  EXPECT_EQ(Draw(10), (std::map<std::string, int>{{"1.0", 10}}));
  EXPECT_EQ(Points("1.0"), 10'000);
  EXPECT_EQ(Points("2.0"), 0);
}

TEST_F(ServedTrafficTest, RequestsAreDividedByTheWeights) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10, "3.0": 30}})").ok());
  std::map<std::string, int> drawn = Draw(10'000);
  EXPECT_NEAR(drawn["2.0"], 1000, 180);  // six standard deviations
  EXPECT_NEAR(drawn["3.0"], 3000, 280);
  EXPECT_EQ(Points("1.0"), 6000);
  EXPECT_EQ((*models_.Find("m", ""))->info().version, "1.0") << "a management call means the default one";
  EXPECT_EQ((*models_.Choose("m", "3.0", {})).version->info().version, "3.0");
}

TEST_F(ServedTrafficTest, AStickyClientStaysWithAVersionThatGrows) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10}})").ok());
  const std::set<std::string> ten = UsersOf("2.0");
  EXPECT_NEAR(static_cast<double>(ten.size()), 100, 60);
  EXPECT_EQ(UsersOf("2.0"), ten);
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 50}})").ok());
  const std::set<std::string> half = UsersOf("2.0");
  EXPECT_NEAR(static_cast<double>(half.size()), 500, 100);
  EXPECT_TRUE(std::includes(half.begin(), half.end(), ten.begin(), ten.end()));
}

TEST_F(ServedTrafficTest, AliasesAreNamesOfVersions) {
  ASSERT_TRUE(Change(R"({"aliases": {"production": "1.0", "next": "2.0"}})").ok());
  EXPECT_EQ(Choose({}, "m@next"), "2.0");
  EXPECT_EQ((*models_.Find("m@production", ""))->info().version, "1.0");
  EXPECT_EQ(Choose({}, "m@x"), "Alias x does not exist for model m; known: next, production");
  EXPECT_EQ(Choose({}, "x@next"), "Model not found: x");
  EXPECT_FALSE(models_.Find("m@next", "1.0"));
  EXPECT_EQ(Choose(), "1.0");
}

TEST_F(ServedTrafficTest, AVersionWithTrafficIsNotRemoved) {
  ASSERT_TRUE(
      Change(R"({"weights": {"2.0": 10}, "aliases": {"next": "2.0"}, "shadow": {"version": "3.0"}})").ok());
  const Status status = models_.Remove("m", "2.0");
  EXPECT_EQ(status.code, Code::kConflict);
  EXPECT_THAT(status.message, HasSubstr("10 % of the requests, alias next"));
  EXPECT_EQ(models_.Remove("m", "3.0").code, Code::kConflict);
  ASSERT_TRUE(Change(R"({"weights": null, "aliases": null, "shadow": null})").ok());
  EXPECT_TRUE(models_.Remove("m", "2.0").ok());
}

TEST_F(ServedTrafficTest, TheLastVersionGoesWithItsPlan) {
  ASSERT_TRUE(models_.Remove("m", "2.0").ok());
  ASSERT_TRUE(models_.Remove("m", "3.0").ok());
  ASSERT_TRUE(Change(R"({"aliases": {"production": "1.0"}})").ok());
  EXPECT_TRUE(models_.Remove("m", "").ok());
}

TEST_F(ServedTrafficTest, APlanNamesVersionsThatAreThere) {
  EXPECT_THAT(Change(R"({"weights": {"9": 10}})").message, HasSubstr("version 9, which is not registered"));
  EXPECT_EQ(Change(R"({"aliases": {"a": "9"}})").code, Code::kVersionNotFound);
  EXPECT_EQ(Change(R"({"shadow": {"version": "9"}})").code, Code::kVersionNotFound);
  EXPECT_THAT(Change(R"({"weights": {"2.0": 50, "3.0": 50}, "rule": {}})").message,
              HasSubstr("the default version 1.0 and to one other"));
  EXPECT_EQ(models_.ChangeTraffic("x", "", nullptr, [](TrafficState&) { return Status(); }).code,
            Code::kModelNotFound);
}

TEST_F(ServedTrafficTest, PromotingMovesTheDefaultAndKeepsAliases) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10}, "rule": {}, "aliases": {"a": "1.0"},
                         "shadow": {"version": "2.0"}})")
                  .ok());
  ASSERT_TRUE(models_.Promote("m", "2.0", "test").ok());
  EXPECT_EQ(Draw(10), (std::map<std::string, int>{{"2.0", 10}}));
  const ServedModels::Entry entry = *models_.Get("m");
  EXPECT_EQ(entry.default_version, "2.0");
  EXPECT_EQ(entry.traffic.plan->aliases.size(), 1U);
  EXPECT_FALSE(entry.traffic.plan->shadow);
  EXPECT_EQ(models_.Promote("m", "9", "test").message, "Model version 9 does not exist for model m");
}

TEST_F(ServedTrafficTest, RollbackGoesBackStepByStep) {
  EXPECT_EQ(models_.Rollback("m").code, Code::kConflict);
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10}, "rule": {}})").ok());
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 50}})").ok());
  ASSERT_TRUE(models_.Promote("m", "2.0", "test").ok());
  ASSERT_TRUE(models_.Rollback("m").ok());
  EXPECT_EQ(Points("2.0"), 5000);
  EXPECT_EQ(models_.Get("m")->default_version, "1.0");
  ASSERT_TRUE(models_.Rollback("m").ok());
  EXPECT_EQ(Points("2.0"), 1000);
  EXPECT_FALSE(models_.Get("m")->traffic.plan->rule) << "it would promote again what was taken back";
  ASSERT_TRUE(models_.Rollback("m").ok());
  EXPECT_EQ(Points("1.0"), 10'000);
  EXPECT_EQ(models_.Rollback("m").code, Code::kConflict);
}

TEST_F(ServedTrafficTest, ARollbackToAVersionThatIsGoneSaysSo) {
  ASSERT_TRUE(models_.Promote("m", "2.0", "test").ok());
  ASSERT_TRUE(models_.Remove("m", "1.0").ok());
  const Status status = models_.Rollback("m");
  EXPECT_EQ(status.code, Code::kConflict);
  EXPECT_THAT(status.message, HasSubstr("version 1.0 does not exist"));
  EXPECT_EQ(models_.Get("m")->default_version, "2.0");
}

TEST_F(ServedTrafficTest, ADecisionAboutAnOlderPlanDoesNothing) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10}})").ok());
  const auto old = models_.Get("m")->traffic.plan;
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 20}})").ok());
  EXPECT_EQ(models_.Promote("m", "2.0", "test", old.get()).code, Code::kConflict);
  EXPECT_EQ(Points("2.0"), 2000);
}

TEST_F(ServedTrafficTest, SetDefaultEndsThePlan) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 10}})").ok());
  ASSERT_TRUE(models_.SetDefault("m", "3.0").ok());
  EXPECT_EQ(Draw(10), (std::map<std::string, int>{{"3.0", 10}}));
}

TEST_F(ServedTrafficTest, AShadowGetsItsPartOfTheOthersRequests) {
  ASSERT_TRUE(Change(R"({"weights": {"2.0": 50}, "shadow": {"version": "2.0", "percent": 50}})").ok());
  int copies = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto chosen = models_.Choose("m", {}, {});
    if (!chosen->shadow) continue;
    EXPECT_EQ(chosen->version->info().version, "1.0");
    ++copies;
  }
  EXPECT_NEAR(copies, 2500, 260);
}

TEST_F(ServedTrafficTest, ChangingThePlanUnderLoadFailsNoRequest) {
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::atomic<int> served{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!stop) {
        const auto chosen = models_.Choose("m", {}, {});
        (chosen && Ask(*chosen->version, "5").get() ? served : failed)++;
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    auto fresh = MakeVersion(FakeRuntime::Echo, {}, "m", "4.0");
    fresh->Scale(1, 1, false);
    ASSERT_TRUE(models_.Add(std::move(fresh)).ok());
    ASSERT_TRUE(Change(R"({"weights": {"4.0": 50}})").ok());
    const int before = served;
    while (served < before + 20) std::this_thread::yield();
    ASSERT_TRUE(models_.Promote("m", "4.0", "test").ok());
    ASSERT_TRUE(models_.Rollback("m").ok());
    ASSERT_TRUE(Change(R"({"weights": null})").ok());
    ASSERT_TRUE(models_.Remove("m", "4.0").ok());
  }
  stop = true;
  clients.clear();
  EXPECT_EQ(failed, 0);
}

}  // namespace
}  // namespace serve
