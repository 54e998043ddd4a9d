#include "serve/model/tuner.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdlib.h>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using namespace testing_model;

/// Counts how often it is run; "fast" is a variant that does no work, the plain way spins.
class CountingRuntime final : public Runtime {
 public:
  explicit CountingRuntime(std::shared_ptr<std::atomic<int>> variants_made, bool fast = false)
      : variants_made_(std::move(variants_made)), fast_(fast) {}
  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override {
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(fast_ ? 0 : 300);
    while (std::chrono::steady_clock::now() < end) {
    }
    return FakeRuntime::Echo(inputs);
  }
  std::vector<std::string> Variants(Precision) const override { return {"fast", "same"}; }
  Result<std::shared_ptr<Runtime>> MakeVariant(const std::string& name) const override {
    ++*variants_made_;
    return std::shared_ptr<Runtime>(std::make_shared<CountingRuntime>(variants_made_, name == "fast"));
  }
  std::string Engine() const override { return "counting 1"; }

 private:
  const std::shared_ptr<std::atomic<int>> variants_made_;
  const bool fast_;
};

class TunerTest : public ::testing::Test {
 protected:
  TunerTest() {
    std::string pattern = (fs::temp_directory_path() / "tuner-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    std::ofstream(folder_ / "m.fake") << "weights";
    options_.delay = std::chrono::milliseconds(0);
    options_.folder = folder_ / "tuning";
  }
  ~TunerTest() override { fs::remove_all(folder_); }

  std::shared_ptr<ModelVersion> Version() {
    VersionInfo info;
    info.name = "m";
    info.version = "1.0";
    info.artifact = folder_ / "m.fake";
    VersionOptions options;
    options.scheduler.batch_size = 4;
    auto version = std::make_shared<ModelVersion>(info, options, std::make_unique<CountingRuntime>(made_),
                                                  std::make_unique<NumberHandler>(),
                                                  std::make_shared<ModelMetrics>("m", "1.0"), fs::path());
    version->Scale(1, 1, false);
    return version;
  }
  static Sample OneSample() { return *NumberHandler().Prepare(NumberRequest("7")); }
  [[nodiscard]] fs::path StoredFile() const {
    for (const auto& entry : fs::directory_iterator(options_.folder)) return entry.path();
    return {};
  }

  fs::path folder_;
  TunerOptions options_;
  std::shared_ptr<std::atomic<int>> made_ = std::make_shared<std::atomic<int>>(0);
};

TEST_F(TunerTest, AVersionRunsInItsFastestWayAndDescribesIt) {
  const auto version = Version();
  const auto before = version->runtime();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_NE(version->runtime(), before);
  EXPECT_EQ(version->tuning()["state"], "done");
  EXPECT_EQ(version->tuning()["variant"], "fast");
  EXPECT_EQ(version->tuning()["trials"].size(), 3U);
  auto answer = Ask(*version, "7");
  EXPECT_EQ(Value(answer.get()), 7);
}

TEST_F(TunerTest, TheNextStartTakesTheStoredResult) {
  Tuner(options_).Tune(*Version(), OneSample());
  EXPECT_EQ(made_->exchange(0), 2);
  const auto again = Version();
  Tuner(options_).Tune(*again, OneSample());
  EXPECT_EQ(again->tuning()["state"], "stored");
  EXPECT_EQ(again->tuning()["variant"], "fast");
  EXPECT_EQ(made_->load(), 1) << "only the chosen variant is made";
}

TEST_F(TunerTest, AnotherModelFileIsTunedAfresh) {
  Tuner(options_).Tune(*Version(), OneSample());
  std::ofstream(folder_ / "m.fake") << "other weights";
  const auto other = Version();
  Tuner(options_).Tune(*other, OneSample());
  EXPECT_EQ(other->tuning()["state"], "done");
}

TEST_F(TunerTest, ADamagedResultIsReplaced) {
  Tuner(options_).Tune(*Version(), OneSample());
  nlohmann::json whole;
  std::ifstream(StoredFile()) >> whole;
  std::vector<std::string> damaged{"{ not json", "[]"};
  for (const auto& [name, value] :
       std::multimap<std::string, nlohmann::json>{{"format", "3"},
                                                  {"key", 5},
                                                  {"variant", 7},
                                                  {"threads", "two"},
                                                  {"threads", 0},
                                                  {"workers", 1'000'000'000'000}}) {
    nlohmann::json one = whole;
    one[name] = value;
    damaged.push_back(one.dump());
  }
  for (const std::string& text : damaged) {
    std::ofstream(StoredFile()) << text;
    const auto version = Version();
    Tuner(options_).Tune(*version, OneSample());
    EXPECT_EQ(version->tuning()["state"], "done") << text;
    const auto again = Version();
    Tuner(options_).Tune(*again, OneSample());
    EXPECT_EQ(again->tuning()["state"], "stored") << text;
  }
}

TEST_F(TunerTest, AFolderThatCannotBeWrittenCostsOnlyTheMemory) {
  std::ofstream(folder_ / "tuning") << "a file where the folder should be";
  const auto version = Version();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_EQ(version->tuning()["state"], "done");
  EXPECT_EQ(version->tuning()["variant"], "fast");
}

TEST_F(TunerTest, TuningInTheBackgroundKeepsNoVersionAlive) {
  Tuner tuner(options_);
  std::weak_ptr<ModelVersion> gone;
  {
    const auto first = Version();
    tuner.Enqueue(first, OneSample());
    const auto second = Version();
    gone = second;
    tuner.Enqueue(second, OneSample());
    EXPECT_TRUE(second->Close(TimePoint::max()));
  }
  while (!gone.expired()) std::this_thread::yield();
}

TEST_F(TunerTest, WhatAProcessOfItsOwnFoundIsMadeReadyAndKept) {
  options_.search_command = {"/bin/sh", "-c",
                             "echo '{\"found\": {\"variant\": \"fast\", \"workers\": 1, \"threads\": 1, "
                             "\"trials\": []}}'"};
  const auto version = Version();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_EQ(version->tuning()["state"], "done");
  EXPECT_EQ(version->tuning()["variant"], "fast");
  EXPECT_EQ(made_->exchange(0), 1) << "only the chosen variant is made here";
  const auto again = Version();
  Tuner(options_).Tune(*again, OneSample());
  EXPECT_EQ(again->tuning()["state"], "stored");
}

TEST_F(TunerTest, AProcessThatCrashesLeavesThePlainWayAndSaysWhy) {
  options_.search_command = {"/bin/sh", "-c", "echo '{\"trying\": \"same\"}'; kill -ABRT $$"};
  const auto version = Version();
  const auto before = version->runtime();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_EQ(version->runtime(), before);
  EXPECT_EQ(version->tuning()["state"], "failed");
  EXPECT_EQ(version->tuning()["variant"], "plain");
  EXPECT_EQ(version->tuning()["reason"], "the search ended by signal 6 (Aborted) while trying `same`");
  auto answer = Ask(*version, "7");
  EXPECT_EQ(Value(answer.get()), 7);
}

TEST_F(TunerTest, AProcessThatCrashesWithOneVariantTunesWithTheOthers) {
  options_.search_command = {
      "/bin/sh", "-c",
      "if grep -aq '\"refused\":{\"same\"'; then echo '{\"found\": {\"variant\": \"fast\", "
      "\"workers\": 1, \"threads\": 1, \"trials\": []}}'; else echo '{\"trying\": "
      "\"same\"}'; kill -SEGV $$; fi"};
  const auto version = Version();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_EQ(version->tuning()["state"], "done");
  EXPECT_EQ(version->tuning()["variant"], "fast");
}

TEST_F(TunerTest, WhereNoProcessCanBeStartedTheServerSearchesItself) {
  options_.search_command = {"/nowhere/flambeau"};
  const auto version = Version();
  Tuner(options_).Tune(*version, OneSample());
  EXPECT_EQ(version->tuning()["state"], "done");
  EXPECT_EQ(version->tuning()["trials"].size(), 3U);
}

TEST_F(TunerTest, RequestsAreAnsweredWhileTheWayOfRunningChanges) {
  const auto version = Version();
  Tuner tuner(options_);
  tuner.Enqueue(version, OneSample());
  int asked = 0;
  while (version->tuning().value("state", "") != "done" || asked < 50) {
    auto answer = Ask(*version, std::to_string(++asked));
    ASSERT_EQ(Value(answer.get()), asked);
  }
}

}  // namespace
}  // namespace serve
