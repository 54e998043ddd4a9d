#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/archive/test_files.h"
#include "tests/model_store/http_client/fake_server.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(WorkflowArchiveCommandTest, PacksWhatCanBeRunAndNothingElse) {
  const TemporaryFolder folder;
  const std::string good = folder.Write("good.yaml", "models: {a: {url: a.mar}}\ndag: {a: []}\n");
  const std::string cycle =
      folder.Write("cycle.yaml", "models: {a: {url: a}, b: {url: b}}\ndag: {a: [b], b: [a]}\n");
  const std::string out = (folder / "store").string();
  const auto pack = [&](const std::string& spec, const std::vector<std::string>& more = {}) {
    std::vector<std::string> args = {
        "workflow-archive", "--workflow-name", "w", "--spec-file", spec, "--export-path", out};
    args.insert(args.end(), more.begin(), more.end());
    return Tool(args);
  };
  const ToolRun refused = pack(cycle);
  EXPECT_EQ(refused.code, kToolFailed);
  EXPECT_THAT(refused.err, HasSubstr("cycle.yaml: DAG should have only one start node"));
  EXPECT_FALSE(std::filesystem::exists(folder / "store"));
  const ToolRun packed = pack(good);
  EXPECT_EQ(packed.code, kToolDone) << packed.err;
  EXPECT_THAT(packed.out, StartsWith("path    " + out + "/w.war\n"));
  EXPECT_THAT(pack(good).err, HasSubstr("--force"));
  EXPECT_EQ(pack(good, {"-f"}).code, kToolDone);
  EXPECT_EQ(pack(good, {"-f", "--max-nodes", "0"}).code, kToolUsage);
  EXPECT_THAT(pack((folder / "none.yaml").string()).err, HasSubstr("cannot read"));
  EXPECT_THAT(pack(good, {"-f", "--extra-files", (folder / "*.none").string()}).err,
              HasSubstr("no file matches"));
}

/// Runs a tool against a server that answers everything with one reply.
class WorkflowsCommandsTest : public testing::Test {
 protected:
  ToolRun Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"--management", server_.url(), "workflows"});
    return Tool(args);
  }
  std::string LastLine() { return server_.lines().empty() ? "" : server_.lines().back(); }

  int status_ = 200;
  std::string body_ = R"({"status": "done"})";
  FakeServer server_{[this](const FakeServer::Request&) { return FakeServer::Json(status_, body_); }};
};

TEST_F(WorkflowsCommandsTest, RegisterAndRemovePrintTheStatus) {
  const ToolRun added = Run({"register", "w.war", "--workflow-name", "a b"});
  EXPECT_EQ(added.code, kToolDone) << added.err;
  EXPECT_EQ(added.out, "done\n");
  EXPECT_THAT(LastLine(), HasSubstr("POST /workflows?url=w.war&workflow_name=a%20b"));
  EXPECT_EQ(Run({"remove", "w"}).code, kToolDone);
  EXPECT_THAT(LastLine(), HasSubstr("DELETE /workflows/w"));
}

TEST_F(WorkflowsCommandsTest, ListAndDescribeAreTables) {
  body_ = R"({"workflows": []})";
  EXPECT_EQ(Run({"list"}).out, "no workflows are registered\n");
  body_ = R"({"workflows": [{"workflowName": "w", "workflowUrl": "w.war"}]})";
  EXPECT_EQ(Run({"list"}).out, "NAME  URL\nw     w.war\n");
  body_ = R"([{"workflowName": "w", "workflowUrl": "w.war", "workflowDag": "{a=[b]}", "timeoutMs": 10000,
               "nodes": [{"name": "a", "modelName": "w__a", "modelUrl": "a.mar", "minWorkers": 1,
                          "maxWorkers": 2, "batchSize": 8}, {"name": "b", "function": "merge"}]}])";
  EXPECT_THAT(Run({"describe", "w"}).out, AllOf(HasSubstr("dag       {a=[b]}\n"), HasSubstr("w__a"),
                                                HasSubstr("1 to 2"), HasSubstr("merge")));
  body_ = "[]";
  EXPECT_EQ(Run({"describe", "w"}).code, kToolFailed);
}

TEST_F(WorkflowsCommandsTest, ErrorsAreTheServers) {
  status_ = 404;
  body_ = R"({"code": 404, "type": "WorkflowNotFoundException", "message": "Workflow not found: w"})";
  const ToolRun run = Run({"describe", "w"});
  EXPECT_EQ(run.code, kToolFailed);
  EXPECT_EQ(run.err, "error: Workflow not found: w\n");
}

}  // namespace
}  // namespace serve
