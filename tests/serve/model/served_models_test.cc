#include "serve/model/served_models.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace testing_model;

ModelHandle Version(const std::string& version, const std::string& name = "m") {
  auto handle = MakeVersion(FakeRuntime::Echo, {}, name, version);
  handle->Scale(1, 1, false);
  return handle;
}

TEST(ServedModelsTest, TheFirstVersionIsTheDefaultUntilAnotherIsMadeIt) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1.0")).ok());
  ASSERT_TRUE(models.Add(Version("2.0")).ok());
  EXPECT_EQ((*models.Find("m", ""))->info().version, "1.0");
  ASSERT_TRUE(models.SetDefault("m", "2.0").ok());
  EXPECT_EQ((*models.Find("m", ""))->info().version, "2.0");
  EXPECT_EQ((*models.Find("m", "1.0"))->info().version, "1.0");
}

TEST(ServedModelsTest, UnknownNamesAndVersionsAreToldApart) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1.0")).ok());
  EXPECT_EQ(models.Find("x", "").error().message, "Model not found: x");
  EXPECT_EQ(models.Find("m", "9").error().message, "Model version: 9 does not exist for model: m");
  EXPECT_EQ(models.SetDefault("m", "9").message, "Model version 9 does not exist for model m");
  EXPECT_EQ(models.Remove("x", "").code, Code::kModelNotFound);
}

TEST(ServedModelsTest, ADuplicateIsAConflict) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1.0")).ok());
  const Status status = models.Add(Version("1.0"));
  EXPECT_EQ(status.code, Code::kConflict);
  EXPECT_EQ(status.message, "Model version 1.0 is already registered for model m");
}

TEST(ServedModelsTest, TheDefaultVersionGoesLast) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1.0")).ok());
  ASSERT_TRUE(models.Add(Version("2.0")).ok());
  EXPECT_EQ(models.Remove("m", "").code, Code::kDefaultVersion);
  EXPECT_EQ(models.Remove("m", "1.0").code, Code::kDefaultVersion);
  EXPECT_TRUE(models.Remove("m", "2.0").ok());
  EXPECT_TRUE(models.Remove("m", "").ok());
  EXPECT_TRUE(models.List().empty());
}

TEST(ServedModelsTest, VersionsAreInNumericOrder) {
  ServedModels models;
  for (const char* version : {"10.0", "2.0", "1.0.1", "1.0"}) ASSERT_TRUE(models.Add(Version(version)).ok());
  std::vector<std::string> order;
  const ServedModels::Entry entry = *models.Get("m");
  for (const ModelHandle& version : entry.versions) order.push_back(version->info().version);
  EXPECT_THAT(order, ElementsAre("1.0", "1.0.1", "2.0", "10.0"));
}

TEST(ServedModelsTest, VersionOrderIsTotal) {
  EXPECT_TRUE(VersionLess("1.0", "1.0.1"));
  EXPECT_TRUE(VersionLess("2", "10"));
  EXPECT_TRUE(VersionLess("1.0-rc1", "1.0-rc2"));
  EXPECT_FALSE(VersionLess("1.0", "1.0"));
  EXPECT_NE(VersionLess("1.0", "01.0"), VersionLess("01.0", "1.0"));
}

TEST(ServedModelsTest, ReadyNamesWhatIsMissing) {
  ServedModels models;
  std::string why;
  EXPECT_TRUE(models.Ready(&why)) << "a server without models is healthy";
  models.SetStarting(true);
  EXPECT_FALSE(models.Ready(&why));
  EXPECT_EQ(why, "models are loading");
  models.SetStarting(false);
  models.SetDraining();
  EXPECT_FALSE(models.Ready(&why));
  EXPECT_THAT(why, HasSubstr("shutting down"));
}

TEST(ServedModelsTest, SwappingVersionsUnderLoadFailsNoRequest) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1")).ok());
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  std::atomic<int> failed{0};
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!stop.load()) {
        auto handle = models.Find("m", "");
        if (!handle) {
          ++failed;
          continue;
        }
        const auto result = Ask(**handle, "5").get();
        (result ? served : failed)++;
      }
    });
  }
  for (int version = 2; version < 40; ++version) {
    ASSERT_TRUE(models.Add(Version(std::to_string(version))).ok());
    ASSERT_TRUE(models.SetDefault("m", std::to_string(version)).ok());
    ASSERT_TRUE(models.Remove("m", std::to_string(version - 1)).ok());
    while (served.load() < version * 20) std::this_thread::yield();
  }
  stop = true;
  clients.clear();
  EXPECT_EQ(failed.load(), 0);
}

TEST(ServedModelsTest, RemovingWaitsForTheLastLease) {
  ServedModels models;
  ASSERT_TRUE(models.Add(Version("1.0")).ok());
  std::atomic<bool> released{false};
  ModelHandle lease = *models.Find("m", "");
  std::jthread holder([&, handle = std::move(lease)]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    released = true;
    handle.reset();
  });
  EXPECT_TRUE(models.Remove("m", "").ok());
  EXPECT_TRUE(released.load());
}

}  // namespace
}  // namespace serve
