#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "model_store/mlflow/run_record.h"
#include "tests/handlers/text/text_model.h"
#include "tests/model_store/mlflow/fake_mlflow.h"
#include "tests/tools/cli/tool_run.h"
#include "tools/cli/retrain.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::ordered_json;

class RunsCommandsTest : public testing::Test {
 protected:
  RunsCommandsTest() {
    setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0", 1);
    WriteRun("aaaa1111", 1000, 0.8, "1");
    WriteRun("bbbb2222", 2000, 0.9, "3");
  }
  ~RunsCommandsTest() override { unsetenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES"); }

  void WriteRun(const std::string& id, std::int64_t end_ms, double accuracy, const std::string& l2) {
    RunRecord record;
    record.id = id;
    record.experiment = "news";
    record.name = "name-" + id;
    record.status = "FINISHED";
    record.start_ms = end_ms - 100;
    record.end_ms = end_ms;
    record.params = {{"l2", l2}, {"epochs", "20"}};
    record.metrics = {{"accuracy", accuracy, end_ms, 0}};
    EXPECT_TRUE(RunFolder(Folder()).Write(record).ok());
  }
  [[nodiscard]] std::string Folder() const { return (folder_.path() / "runs").string(); }

  const TestFolder folder_;
};

TEST_F(RunsCommandsTest, AFolderIsListedTheNewestFirst) {
  const ToolRun run = Tool({"runs", "list", "--runs", Folder()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("ACCURACY"), HasSubstr("name-aaaa1111"), HasSubstr("0.9")));
  EXPECT_LT(run.out.find("bbbb2222"), run.out.find("aaaa1111"));
  const Json json = Json::parse(Tool({"runs", "list", "--runs", Folder(), "--json", "--limit", "1"}).out);
  ASSERT_EQ(json.size(), 1U);
  EXPECT_EQ(json[0]["metrics"]["accuracy"], 0.9);
  EXPECT_THAT(Tool({"runs", "list", "--runs", Folder(), "--experiment", "other"}).out, HasSubstr("no runs"));
}

TEST_F(RunsCommandsTest, AComparisonShowsWhatDiffers) {
  const ToolRun run = Tool({"runs", "compare", "aaaa", "bbbb", "--runs", Folder()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("parameter l2"), HasSubstr("metric accuracy"),
                             Not(HasSubstr("epochs")), HasSubstr("1 more are equal")));
  EXPECT_THAT(Tool({"runs", "compare", "aaaa", "bbbb", "--all", "--runs", Folder()}).out,
              HasSubstr("epochs"));
}

TEST_F(RunsCommandsTest, ARunIsShownAndAnUnknownOneIsNot) {
  EXPECT_THAT(Tool({"runs", "show", "aaaa", "--runs", Folder()}).out,
              AllOf(HasSubstr("l2"), HasSubstr("name-aaaa1111")));
  const ToolRun unknown = Tool({"runs", "show", "cccc", "--runs", Folder()});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("there is no run cccc"));
}

TEST_F(RunsCommandsTest, SyncSendsEachRunOnceAndAServerIsReadLikeAFolder) {
  const FakeMlflow server;
  const ToolRun first = Tool({"runs", "sync", "--runs", Folder(), "--tracking-uri", server.url()});
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("sent aaaa1111 as run1"), HasSubstr("sent bbbb2222 as run2")));
  EXPECT_EQ(Tool({"runs", "sync", "--runs", Folder(), "--tracking-uri", server.url()}).out,
            "nothing to send\n");
  EXPECT_EQ(server.runs().size(), 2U);
  const ToolRun list = Tool({"runs", "list", "--tracking-uri", server.url()});
  EXPECT_THAT(list.out, AllOf(HasSubstr("run1"), HasSubstr("run2"), HasSubstr("0.8"), HasSubstr("news")));
  const ToolRun show = Tool({"runs", "show", "run2", "--tracking-uri", server.url()});
  EXPECT_THAT(show.out, AllOf(HasSubstr("name-bbbb2222"), HasSubstr("flambeau.run_id")));
}

TEST_F(RunsCommandsTest, SyncWithoutAServerSaysSo) {
  const ToolRun dead = Tool({"runs", "sync", "--runs", Folder(), "--tracking-uri", DeadUrl()});
  EXPECT_EQ(dead.code, 1);
  EXPECT_THAT(dead.err, HasSubstr("connection refused"));
  EXPECT_THAT(Tool({"runs", "sync", "--runs", Folder()}).err, HasSubstr("MLFLOW_TRACKING_URI"));
}

class BaselineCommandsTest : public testing::Test {
 protected:
  std::string Archive(const std::string& folder, double l2) {
    CreateOptions create;
    create.model_name = "news";
    create.version = "1.0";
    create.serialized_file = folder_.Write("model.pt", "weights");
    create.handler = "text_classifier";
    create.extra_files = {folder_.Write("index_to_name.json", R"({"0":"World","1":"Sports"})")};
    create.lineage = {{"program", "flambeau-train news"},
                      {"version", "0.1"},
                      {"data", {{"file", "news.csv"}, {"sha256", Sha256OfBytes("rows\n")}, {"rows", 1}}},
                      {"validation", {{"split", 0.1}}},
                      {"seed", 7},
                      {"hyper_parameters", {{"features", "words"}, {"l2", l2}, {"max_iterations", 20}}},
                      {"metrics", {{"accuracy", 0.9}}},
                      {"code", {{"commit", "c0ffee"}, {"dirty", false}}},
                      {"environment", {{"compiler", "gcc"}}},
                      {"weights_sha256", "abc"}};
    create.export_path = folder_.path() / folder;
    const Result<CreatedArchive> made = CreateArchive(create);
    EXPECT_TRUE(made);
    return made->path.string();
  }
  const TestFolder folder_;
};

TEST_F(BaselineCommandsTest, ShowTellsWhatMadeAnArchive) {
  const ToolRun run = Tool({"baseline", "show", Archive("a", 0.5)});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("code.commit"), HasSubstr("c0ffee"), HasSubstr("hyper_parameters.l2")));
}

TEST_F(BaselineCommandsTest, DiffTellsWhatChanged) {
  const ToolRun run = Tool({"baseline", "diff", Archive("a", 0.5), Archive("b", 0.25)});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("hyper_parameters.l2"), HasSubstr("0.25"), Not(HasSubstr("seed"))));
  EXPECT_EQ(Tool({"baseline", "diff", Archive("c", 1), Archive("d", 1)}).out, "no difference\n");
}

TEST_F(BaselineCommandsTest, VerifyChecksFilesAndData) {
  const std::string archive = Archive("a", 0.5);
  const std::string data = folder_.Write("news.csv", "rows\n").string();
  const ToolRun fine = Tool({"baseline", "verify", archive, "--data", data});
  EXPECT_EQ(fine.code, 0) << fine.out << fine.err;
  const std::string other = folder_.Write("other.csv", "other rows\n").string();
  const ToolRun wrong = Tool({"baseline", "verify", archive, "--data", other});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.out, HasSubstr("WRONG   data"));
}

TEST_F(BaselineCommandsTest, ARegistryVersionIsFetchedAndShown) {
  const FakeMlflow server;
  RunRecord record;
  record.id = "aaaa";
  record.status = "FINISHED";
  record.end_ms = 1;
  record.registration.model = "news";
  record.registration.aliases = {"production"};
  const RunFolder runs(folder_.path() / "runs");
  ASSERT_TRUE(runs.Write(record).ok());
  std::filesystem::create_directories(runs.ArtifactPath("aaaa") / "model");
  std::filesystem::copy_file(Archive("a", 0.5), runs.ArtifactPath("aaaa") / "model/news.mar");
  ASSERT_EQ(Tool({"runs", "sync", "--runs", runs.path().string(), "--tracking-uri", server.url()}).code, 0);
  setenv("MLFLOW_TRACKING_URI", server.url().c_str(), 1);
  const ToolRun by_version = Tool({"baseline", "show", "models:/news/1"});
  const ToolRun by_alias = Tool({"baseline", "show", "models:/news@production"});
  unsetenv("MLFLOW_TRACKING_URI");
  EXPECT_EQ(by_version.code, 0) << by_version.err;
  EXPECT_THAT(by_version.out, HasSubstr("c0ffee"));
  EXPECT_EQ(by_version.out, by_alias.out);
}

TEST(RetrainTest, TheCommandLineFollowsFromTheLineage) {
  const Json lineage = Json::parse(R"({"program":"flambeau-train news","seed":7,"validation":{"split":0.25},
    "hyper_parameters":{"features":"words","terms":12,"l2":0.0003,"max_iterations":20,"class_weights":[1.5,2],"max_terms":null}})");
  const auto arguments = RetrainArguments(lineage, {"A", "B"}, "d.csv", "");
  ASSERT_TRUE(arguments);
  EXPECT_THAT(*arguments, ElementsAre("news", "--data", "d.csv", "--split", "0.25", "--seed", "7", "--labels",
                                      "A,B", "--l2", "0.0003", "--epochs", "20", "--class-weights", "1.5,2"));
  EXPECT_FALSE(RetrainArguments(Json::parse(R"({"program":"other"})"), {}, "d", ""));
  EXPECT_FALSE(RetrainArguments(lineage, {"a,b"}, "d", ""));
}

TEST(RetrainTest, AProgramThatIsNotThereIsNamed) {
  const TestFolder folder;
  Json lineage;
  const Status status = Retrain("/no/such/trainer", {"news"}, folder.path(), lineage);
  EXPECT_THAT(status.message, HasSubstr("--trainer"));
}

}  // namespace
}  // namespace serve
