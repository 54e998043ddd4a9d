#include "model_store/mlflow/send_run.h"

#include <cmath>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"
#include "tests/model_store/mlflow/fake_mlflow.h"

namespace serve {
namespace {

using testing::HasSubstr;

/// A finished run in a folder, and a server.
class SendRunTest : public testing::Test {
 protected:
  SendRunTest() : runs_(folder_.path() / "runs") { WriteRun("abc", 1000); }

  void WriteRun(const std::string& id, std::int64_t end_ms, const std::string& parent = "") {
    RunRecord record;
    record.id = id;
    record.experiment = "news";
    record.name = "brave-" + id;
    record.status = "FINISHED";
    record.start_ms = end_ms - 500;
    record.end_ms = end_ms;
    record.parent = parent;
    record.tags = {{"who", "ann"}};
    record.params = {{"l2", "0.001"}};
    record.metrics = {{"accuracy", 0.9, end_ms, 0}, {"loss", std::nan(""), end_ms, 1}};
    record.datasets = {
        {"news.csv", "0123", "local", R"({"uri":"news.csv"})", "", R"({"num_rows":4})", "training"}};
    record.registration = {"news", {"candidate"}, {{"stage", "try"}}, "a try"};
    EXPECT_TRUE(runs_.Write(record).ok());
    std::filesystem::create_directories(runs_.ArtifactPath(id) / "model");
    std::ofstream(runs_.ArtifactPath(id) / "model/news.mar") << "archive of " << id;
  }
  Status Send(const std::string& id = "abc") {
    MlflowSettings settings;
    settings.uri = server_.url();
    settings.max_retries = 1;
    settings.sleep = [](std::chrono::milliseconds) {};
    return SendRun(MlflowClient(settings), runs_, id, [this](const std::string& note) { notes_ += note; });
  }

  const TestFolder folder_;
  const RunFolder runs_;
  FakeMlflow server_;
  std::string notes_;
};

TEST_F(SendRunTest, EverythingArrives) {
  const Status status = Send();
  ASSERT_TRUE(status.ok()) << status.message;
  const auto runs = server_.runs();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].name, "brave-abc");
  EXPECT_EQ(runs[0].status, "FINISHED");
  EXPECT_EQ(runs[0].end, 1000);
  EXPECT_EQ(runs[0].params.at("l2"), "0.001");
  EXPECT_EQ(runs[0].tags.at("who"), "ann");
  EXPECT_EQ(runs[0].tags.at(std::string(kRunIdTag)), "abc");
  EXPECT_EQ(runs[0].metrics.size(), 2U);
  EXPECT_EQ(runs[0].inputs[0]["dataset"]["name"], "news.csv");
  EXPECT_EQ(server_.artifacts().at("1/run1/artifacts/model/news.mar"), "archive of abc");
  ASSERT_EQ(server_.versions().size(), 1U);
  EXPECT_EQ(server_.versions()[0]["source"], "runs:/run1/model");
  EXPECT_EQ(server_.versions()[0]["description"], "a try");
  EXPECT_EQ(server_.alias("candidate"), "1");
  const Result<RunRecord> record = runs_.Read("abc");
  ASSERT_TRUE(record);
  EXPECT_TRUE(record->sent.complete);
  EXPECT_EQ(record->sent.run_id, "run1");
  EXPECT_EQ(record->sent.model_version, "1");
}

TEST_F(SendRunTest, SentAgainNothingIsThereTwice) {
  ASSERT_TRUE(Send().ok());
  ASSERT_TRUE(Send().ok());
  EXPECT_EQ(server_.runs().size(), 1U);
  EXPECT_EQ(server_.runs()[0].metrics.size(), 2U);
  EXPECT_EQ(server_.versions().size(), 1U);
}

TEST_F(SendRunTest, WhereverItBreaksTheNextTryCompletesIt) {
  for (const char* part :
       {"get-by-name", "runs/search", "runs/create", "log-batch", "log-inputs", "mlflow-artifacts",
        "registered-models/create", "model-versions/create", "alias", "runs/update"}) {
    for (const bool after : {false, true}) {
      const std::string id = std::string(after ? "b" : "a") + std::to_string(std::hash<std::string>{}(part));
      WriteRun(id, 2000);
      const std::size_t runs = server_.runs().size();
      const std::size_t versions = server_.versions().size();
      server_.Break(part, after);
      EXPECT_FALSE(Send(id).ok()) << part;
      EXPECT_FALSE(runs_.Read(id)->sent.complete) << part;
      server_.Mend();
      const Status status = Send(id);
      EXPECT_TRUE(status.ok()) << part << ": " << status.message;
      EXPECT_TRUE(runs_.Read(id)->sent.complete);
      EXPECT_EQ(server_.runs().size(), runs + 1) << part << (after ? " after" : " before");
      EXPECT_EQ(server_.versions().size(), versions + 1) << part << (after ? " after" : " before");
    }
  }
}

TEST_F(SendRunTest, ARunThatIsSentLateDoesNotTakeTheAliasFromANewerModel) {
  WriteRun("newer", 5000);
  ASSERT_TRUE(Send("newer").ok());
  ASSERT_TRUE(Send("abc").ok());
  EXPECT_EQ(server_.versions().size(), 2U);
  EXPECT_EQ(server_.alias("candidate"), "1");
  EXPECT_THAT(notes_, HasSubstr("news@candidate stays with version 1"));
}

TEST_F(SendRunTest, APartNamesItsParentOnTheServer) {
  WriteRun("part", 1200, "abc");
  EXPECT_EQ(Send("part").code, Code::kConflict);  // the parent is not there yet
  ASSERT_TRUE(Send("abc").ok());
  ASSERT_TRUE(Send("part").ok());
  EXPECT_EQ(server_.runs()[1].tags.at("mlflow.parentRunId"), "run1");
}

TEST_F(SendRunTest, ParametersOfTheServersOwnRunStay) {
  ASSERT_TRUE(Send("abc").ok());
  RunRecord record = *runs_.Read("abc");
  record.id = "again";
  record.sent = {};
  record.server_run_id = "run1";
  record.params["l2"] = "1e-3";
  record.tags["mlflow.user"] = "somebody";
  ASSERT_TRUE(runs_.Write(record).ok());
  const Status status = Send("again");
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_EQ(server_.runs().size(), 1U);
  EXPECT_EQ(server_.runs()[0].params.at("l2"), "0.001");
  EXPECT_FALSE(server_.runs()[0].tags.contains("mlflow.user"));
}

TEST_F(SendRunTest, ARunWhoseProgramWasKilledIsSentAsKilled) {
  RunRecord record = *runs_.Read("abc");
  record.status = "RUNNING";
  record.registration = {};
  ASSERT_TRUE(runs_.Write(record).ok());
  ASSERT_TRUE(Send().ok());
  EXPECT_EQ(server_.runs()[0].status, "KILLED");
}

TEST_F(SendRunTest, ARunThatAnotherProgramHoldsIsLeftAlone) {
  const auto lock = runs_.TryLock("abc");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(Send().code, Code::kConflict);
  EXPECT_TRUE(server_.lines().empty());
}

TEST_F(SendRunTest, AnotherServerGetsEverythingAnew) {
  ASSERT_TRUE(Send().ok());
  const FakeMlflow other;
  MlflowSettings settings;
  settings.uri = other.url();
  ASSERT_TRUE(SendRun(MlflowClient(settings), runs_, "abc", [](const std::string&) {}).ok());
  EXPECT_EQ(other.runs().size(), 1U);
  EXPECT_EQ(runs_.Read("abc")->sent.uri, other.url());
}

TEST_F(SendRunTest, ARecordIsReadAsItWasWritten) {
  RunRecord record = *runs_.Read("abc");
  EXPECT_TRUE(std::isnan(record.metrics[1].value));
  EXPECT_EQ(record.datasets[0].context, "training");
  EXPECT_EQ(record.registration.aliases, std::vector<std::string>{"candidate"});
  EXPECT_EQ(record.LastMetrics().at("accuracy"), 0.9);
}

TEST_F(SendRunTest, RunsAreFoundByTheBeginningOfTheirId) {
  WriteRun("abd", 2000);
  EXPECT_TRUE(runs_.Read("abd"));
  EXPECT_EQ(runs_.Read("ab").error().code, Code::kInvalidArgument);
  EXPECT_EQ(runs_.Read("x").error().code, Code::kNotFound);
  EXPECT_EQ(runs_.Read("../runs/abc").error().code, Code::kNotFound);
  EXPECT_EQ(runs_.List().front().id, "abd");  // the newest
}

TEST_F(SendRunTest, ADamagedRecordIsToldAndDoesNotHideTheOthers) {
  std::filesystem::create_directories(runs_.RunPath("bad"));
  std::ofstream(runs_.RunPath("bad") / "run.json") << "{";
  std::vector<std::string> problems;
  EXPECT_EQ(runs_.List(&problems).size(), 1U);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0], HasSubstr("bad/run.json"));
}

}  // namespace
}  // namespace serve
