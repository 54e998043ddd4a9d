#include "serve/api/follower.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/traffic_api.h"
#include "serve/runtime/fake/fake_runtime.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Version N lies in the folder `mN` of the model store.
class FakeRegistry final : public ModelRegistry {
 public:
  Result<std::string> VersionOfAlias(const std::string& model, const std::string& alias) override {
    if (down) return Status{Code::kUnavailable, "connection refused"};
    EXPECT_EQ(model, "m");
    EXPECT_EQ(alias, "production");
    return meant;
  }
  [[nodiscard]] std::string UrlOf(const std::string& model, const std::string& version) const override {
    return model + version;
  }
  Status SetVersionTag(const std::string&, const std::string& version, const std::string& key,
                       const std::string& value) override {
    EXPECT_EQ(key, "flambeau.check");
    tags[version] = value;
    return {};
  }

  std::string meant = "1";
  bool down = false;
  std::map<std::string, std::string> tags;
};

class FollowerTest : public testing::Test {
 protected:
  FollowerTest() {
    for (const char* version : {"1", "2", "3"}) AddArchive(version, "tensor");
    AddArchive("9", "no_such_handler");
    factories_.push_back(std::make_unique<FakeRuntimeFactory>(FakeRuntime::Echo));
    options_.model_store = store_.path().string();
    options_.allow_model_api = false;  // nobody else may register anything
    loader_.emplace(std::move(factories_), metrics_, unpacked_.path(), UnpackLimits());
    management_.emplace(models_, *loader_, options_);
  }
  void AddArchive(const std::string& version, const std::string& handler) {
    const std::string folder = "m" + version + "/";
    store_.Write(folder + "model.fake", "a function\n");
    store_.Write(folder + "MAR-INF/MANIFEST.json",
                 R"({"model": {"modelName": "other", "modelVersion": "1.0", "serializedFile": "model.fake",
                     "handler": ")" +
                     handler + R"("}, "flambeau": {"format": 1,
                     "inputs": [{"name": "x", "dtype": "float32", "shape": [2]}]}})");
  }
  void Follow(FollowOptions options = {}) {
    follower_.emplace(models_, *management_, registry_, metrics_, options,
                      ParseFollowed("models:/m@production").value());
    follower_->Look();
  }
  void Move(const std::string& version) {
    registry_.meant = version;
    follower_->Look();
  }
  std::vector<std::string> Versions() {
    std::vector<std::string> versions;
    const auto entry = models_.Get("m");
    if (!entry) return versions;
    for (const ModelHandle& handle : entry->versions) versions.push_back(handle->info().version);
    return versions;
  }
  std::string Default() { return models_.Get("m")->default_version; }
  void Serve(const char* version, std::uint64_t answered, std::uint64_t failed) {
    ModelMetrics& metrics = (*models_.Find("m", version))->metrics();
    metrics.succeeded.Add(answered - failed);
    metrics.failed.Add(failed);
  }

  const TemporaryFolder store_;
  const TemporaryFolder unpacked_;
  Metrics metrics_{false};
  std::vector<std::unique_ptr<RuntimeFactory>> factories_;
  ManagementOptions options_;
  ServedModels models_;
  std::optional<Loader> loader_;
  std::optional<ManagementApi> management_;
  FakeRegistry registry_;
  std::optional<Follower> follower_;
};

TEST_F(FollowerTest, ServesWhatTheAliasMeansAndRetiresWhatItMeant) {
  Follow();
  EXPECT_THAT(Versions(), ElementsAre("1"));
  Move("2");
  EXPECT_THAT(Versions(), ElementsAre("2"));
  EXPECT_EQ(Default(), "2");
  EXPECT_EQ(registry_.tags["2"], "passed");
  Move("1");
  EXPECT_THAT(Versions(), ElementsAre("1"));
  const auto described = management_->Describe("m", "");
  EXPECT_EQ(described->body[0]["traffic"]["follow"], "production: version 1 is served");
}

TEST_F(FollowerTest, AVersionThatFailsItsCheckLeavesTheOldOne) {
  Follow();
  Move("9");
  EXPECT_THAT(Versions(), ElementsAre("1"));
  EXPECT_THAT(registry_.tags["9"], HasSubstr("failed: "));
  EXPECT_THAT(registry_.tags["9"], HasSubstr("no_such_handler"));
  EXPECT_THAT(models_.Get("m")->follow, HasSubstr("version 9 is not served"));
  registry_.tags.clear();
  follower_->Look();
  EXPECT_TRUE(registry_.tags.empty()) << "it is not tried again";
  EXPECT_EQ(metrics_.follow_failing.Value(), 1) << "until the alias moves";
  Move("2");
  EXPECT_THAT(Versions(), ElementsAre("2"));
  EXPECT_EQ(metrics_.follow_failing.Value(), 0);
  Move("9");
  EXPECT_EQ(registry_.tags.count("9"), 1U) << "the alias has moved since";
}

TEST_F(FollowerTest, ARegistryThatIsDownChangesNothing) {
  Follow();
  registry_.down = true;
  Move("2");
  EXPECT_THAT(Versions(), ElementsAre("1"));
  EXPECT_THAT(models_.Get("m")->follow, HasSubstr("does not answer: connection refused"));
  EXPECT_EQ(metrics_.follow_failing.Value(), 1);
  registry_.down = false;
  follower_->Look();
  EXPECT_THAT(Versions(), ElementsAre("2"));
  EXPECT_EQ(metrics_.follow_failing.Value(), 0);
}

TEST_F(FollowerTest, ACanaryIsJudgedByTheRule) {
  FollowOptions canary;
  canary.canary_percent = 10;
  canary.promote_after = 100;
  Follow(canary);
  TrafficApi traffic(models_, *management_, TrafficOptions());
  Move("2");
  EXPECT_THAT(Versions(), ElementsAre("1", "2"));
  EXPECT_EQ(Default(), "1");
  EXPECT_EQ((*models_.Find("m", "2"))->metrics().traffic_points.Value(), 1000);
  traffic.JudgeRules(SteadyClock::now());
  follower_->Look();
  EXPECT_EQ(Default(), "1");
  Serve("1", 900, 0);
  Serve("2", 100, 0);
  traffic.JudgeRules(SteadyClock::now());
  follower_->Look();
  EXPECT_THAT(Versions(), ElementsAre("2"));
  EXPECT_EQ(registry_.tags["2"], "passed");

  Move("3");
  traffic.JudgeRules(SteadyClock::now());
  Serve("2", 900, 0);
  Serve("3", 100, 50);
  traffic.JudgeRules(SteadyClock::now());
  follower_->Look();
  EXPECT_THAT(Versions(), ElementsAre("2"));
  EXPECT_THAT(registry_.tags["3"],
              HasSubstr("failed: version 3 was rolled back by the rule: too many errors"));
  follower_->Look();
  EXPECT_THAT(Versions(), ElementsAre("2"));
}

TEST_F(FollowerTest, VersionsOfOthersStay) {
  RegisterRequest request;
  request.url = "m3";
  request.model_name = "m";
  request.version = "mine";
  request.by_server = true;
  ASSERT_TRUE(management_->Register(request));
  Follow();
  EXPECT_THAT(Versions(), ElementsAre("1", "mine"));
  EXPECT_EQ(Default(), "1");
}

TEST(ParseFollowedTest, TakesSeveralAndSaysWhatIsWrong) {
  const auto list = ParseFollowed("models:/news@production, images@champion,");
  ASSERT_TRUE(list);
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ((*list)[1].model, "images");
  EXPECT_EQ((*list)[1].alias, "champion");
  EXPECT_TRUE(ParseFollowed("")->empty());
  EXPECT_THAT(ParseFollowed("models:/news/3").error().message, HasSubstr("models:/NAME@ALIAS"));
  EXPECT_FALSE(ParseFollowed("news@"));
  EXPECT_FALSE(ParseFollowed("a/b@c"));
  EXPECT_THAT(ParseFollowed("a@b, a@c").error().message, HasSubstr("two aliases"));
}

}  // namespace
}  // namespace serve
