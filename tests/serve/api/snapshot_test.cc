#include "serve/api/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/api/snapshot_folder.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kOfTorchServe =
    R"({"name": "20200329045334828-startup.cfg", "modelCount": 1, "created": 1585457614832,
        "models": {"noop": {"1.11": {"defaultVersion": true, "marName": "noop.mar", "minWorkers": 4,
          "maxWorkers": 5, "batchSize": 2, "maxBatchDelay": 100, "responseTimeout": 120, "startupTimeout": 130,
          "runtimeType": "python"}}}})";

TEST(SnapshotTest, EveryNumberOfTorchServesSnapshotHolds) {
  const Result<Snapshot> snapshot = ParseSnapshotJson(kOfTorchServe);
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  ASSERT_THAT(snapshot->models, SizeIs(1));
  const SnapshotModel& model = snapshot->models[0];
  EXPECT_EQ(model.name, "noop");
  EXPECT_EQ(model.version, "1.11");
  EXPECT_EQ(model.file, "noop.mar");
  EXPECT_TRUE(model.given.default_version);
  EXPECT_EQ(model.given.min_workers, 4);
  EXPECT_EQ(model.given.max_workers, 5);
  EXPECT_EQ(model.given.batch_size, 2);
  EXPECT_EQ(model.given.max_batch_delay, milliseconds(100));
  EXPECT_EQ(model.given.response_timeout, milliseconds(120'000));
  EXPECT_EQ(model.given.startup_timeout, milliseconds(130'000));
}

TEST(SnapshotTest, WhatCannotBeUsedIsAProblemAndTheRestIsRead) {
  const Result<Snapshot> snapshot = ParseSnapshotJson(
      R"({"models": {"a": {"1.0": {"marName": "a.mar"}, "2.0": 7, "3.0": {"minWorkers": 1},
                           "4.0": {"marName": "a.mar", "minWorkers": 3, "maxWorkers": 1}}, "b": []}})");
  ASSERT_TRUE(snapshot);
  EXPECT_THAT(snapshot->models, SizeIs(1));
  EXPECT_THAT(snapshot->problems, SizeIs(4));
  for (const char* text : {"", "{", "[]", "{\"models\": 1}"}) EXPECT_FALSE(ParseSnapshotJson(text)) << text;
  EXPECT_FALSE(ParseSnapshotText("inference_address=http://127.0.0.1:8080\n"));
}

TEST(SnapshotTest, WorkflowsAreReadBackAndBrokenOnesAreProblems) {
  const std::string text =
      SnapshotText({}, {}, {{"w", "http://x/w.war", "w.war"}}, "name", std::chrono::system_clock::now());
  const Result<Snapshot> snapshot = ParseSnapshotText(text);
  ASSERT_TRUE(snapshot) << snapshot.error().message;
  ASSERT_THAT(snapshot->workflows, SizeIs(1));
  EXPECT_EQ(snapshot->workflows[0].name, "w");
  EXPECT_EQ(snapshot->workflows[0].url, "http://x/w.war");
  EXPECT_EQ(snapshot->workflows[0].file, "w.war");
  const Result<Snapshot> broken =
      ParseSnapshotJson(R"({"models": {}, "flambeau": {"workflows": [7, {"workflowName": "w"}]}})");
  ASSERT_TRUE(broken);
  EXPECT_THAT(broken->problems, SizeIs(2));
}

std::string Text(const std::string& file) {
  return "#Saving snapshot\nmodel_snapshot={\"models\"\\: {\"m\"\\: {\"1.0\"\\: {\"marName\"\\: \"" + file +
         "\"}}}}\n";
}

std::string FileOf(const std::optional<SnapshotFolder::Found>& found) {
  return found && !found->snapshot.models.empty() ? found->snapshot.models[0].file : "nothing";
}

TEST(SnapshotFolderTest, TheNewestThatCanBeReadCountsAndTheOthersAreSetAside) {
  const TemporaryFolder folder;
  SnapshotFolder snapshots(folder.path());
  EXPECT_FALSE(snapshots.Latest());
  folder.Write("20200101000000000-startup.cfg", Text("old.mar"));
  folder.Write("20200101000000001-snapshot.cfg", Text("new.mar"));
  folder.Write("20200101000000002-shutdown.cfg", "model_snapshot={\"models\n");
  folder.Write("notes.cfg", Text("other.mar"));
  EXPECT_EQ(FileOf(snapshots.Latest()), "new.mar");
  EXPECT_TRUE(std::filesystem::exists(folder / "20200101000000002-shutdown.cfg.rejected"));
  snapshots.SetAside("20200101000000001-snapshot.cfg", "a test says so");
  EXPECT_EQ(FileOf(snapshots.Latest()), "old.mar");
}

TEST(SnapshotFolderTest, AnewNameIsLaterThanAllThatAreThereAndOldOnesGo) {
  const TemporaryFolder folder;
  SnapshotFolder snapshots(folder / "deep/config", 2);
  std::vector<std::string> names;
  const auto now = std::chrono::system_clock::now();
  for (int i = 0; i < 3; ++i) {
    names.push_back(snapshots.NextName("snapshot", now));  // the clock stands still
    const Status status = snapshots.Write(names.back(), Text("f.mar"));
    EXPECT_TRUE(status.ok()) << status.message;
  }
  EXPECT_LT(names[0], names[1]);
  EXPECT_LT(names[1], names[2]);
  EXPECT_THAT(NamesIn(folder / "deep/config"), ElementsAre(names[1], names[2]));
}

TEST(SnapshotFolderTest, AFolderThatCannotBeMadeIsAnError) {
  const TemporaryFolder folder;
  folder.Write("file", "");
  SnapshotFolder snapshots(folder / "file/config");
  EXPECT_THAT(snapshots.Write("20200101000000000-startup.cfg", "").message, HasSubstr("cannot write"));
  EXPECT_FALSE(snapshots.Latest());
}

TEST(SnapshotFolderTest, ASnapshotThatThreeStartsDidNotSurviveIsSetAside) {
  const TemporaryFolder folder;
  const std::string name = "20200101000000001-snapshot.cfg";
  folder.Write("20200101000000000-startup.cfg", Text("old.mar"));
  folder.Write(name, Text("new.mar"));
  for (int start = 0; start < 3; ++start) {
    SnapshotFolder snapshots(folder.path());
    EXPECT_EQ(FileOf(snapshots.Latest()), "new.mar");
    snapshots.BeginRestore(name);
  }
  SnapshotFolder snapshots(folder.path());
  EXPECT_EQ(FileOf(snapshots.Latest()), "old.mar");
  snapshots.EndRestore();
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("20200101000000000-startup.cfg", name + ".rejected"));
}

}  // namespace
}  // namespace serve
