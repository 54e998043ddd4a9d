#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/archive/test_files.h"
#include "tests/model_store/http_client/fake_server.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kDescription = R"([
  {
    "modelName": "news",
    "modelVersion": "1.0",
    "modelUrl": "news.mar",
    "minWorkers": 1,
    "maxWorkers": 2,
    "batchSize": 8,
    "maxBatchDelay": 50,
    "handler": "text_classifier",
    "workers": [{"id": "9000", "startTime": "2026-01-01T00:00:00.000Z", "status": "READY"},
                {"id": "9001", "startTime": "2026-01-01T00:00:00.000Z", "status": "UNLOADING"}],
    "jobQueueStatus": {"remainingCapacity": 98, "pendingRequests": 2},
    "inputs": [{"name": "ids", "dtype": "int64", "shape": [-1, 3]}],
    "outputs": []
  }
]
)";

/// Runs a tool against a server that answers everything with one reply.
class ServerCommandsTest : public testing::Test {
 protected:
  ServerCommandsTest() : server_([this](const FakeServer::Request& request) { return reply_(request); }) {
    Reply(200, "{\n  \"status\": \"done \\\"well\\\"\"\n}\n");
  }
  void Reply(int status, const std::string& body) {
    reply_ = [=](const FakeServer::Request&) { return FakeServer::Json(status, body); };
  }
  ToolRun Run(std::vector<std::string> args, const std::string& input = "") {
    args.insert(args.begin(), {"--management", server_.url(), "--inference", server_.url() + "/"});
    return Tool(args, input);
  }
  std::string LastLine() { return server_.lines().empty() ? "" : server_.lines().back(); }

  FakeServer::Answer reply_;
  FakeServer server_;
};

TEST_F(ServerCommandsTest, ListIsATableOverAllPages) {
  reply_ = [](const FakeServer::Request& request) {
    const std::string target(request.target());
    if (target == "/models?limit=1") {
      return FakeServer::Json(
          200, R"({"nextPageToken": "1", "models": [{"modelName": "a", "modelUrl": "long-name.mar"}]})");
    }
    if (target == "/models?limit=1&next_page_token=1") {
      return FakeServer::Json(200, R"({"models": [{"modelName": "classifier", "modelUrl": "c.mar"}]})");
    }
    if (target == "/models/a") return FakeServer::Json(200, R"([{"modelVersion": "2.0"}])");
    return FakeServer::Json(200, R"([{"modelVersion": "1.0-beta"}])");
  };
  const ToolRun run = Run({"models", "list", "--limit", "1"});
  EXPECT_EQ(run.code, kToolDone) << run.err;
  EXPECT_EQ(run.out,
            "NAME        DEFAULT VERSION  URL\n"
            "a           2.0              long-name.mar\n"
            "classifier  1.0-beta         c.mar\n");
}

TEST_F(ServerCommandsTest, AnEmptyListSaysSo) {
  Reply(200, R"({"models": []})");
  EXPECT_EQ(Run({"models", "list"}).out, "no models are registered\n");
}

TEST_F(ServerCommandsTest, JsonIsTheServersOwn) {
  Reply(200, kDescription);
  EXPECT_EQ(Run({"--json", "models", "describe", "news"}).out, kDescription);
  EXPECT_EQ(Run({"models", "describe", "news", "--json"}).out, kDescription);
  Reply(200, "{\"models\": []}");
  EXPECT_EQ(Run({"models", "list", "--json"}).out, "{\"models\": []}\n");
  EXPECT_EQ(LastLine(), "GET /models?limit=100");
}

TEST_F(ServerCommandsTest, DescribeIsReadable) {
  Reply(200, kDescription);
  const ToolRun run = Run({"models", "describe", "news:1.0"});
  EXPECT_EQ(run.code, kToolDone) << run.err;
  EXPECT_EQ(LastLine(), "GET /models/news/1.0");
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("1 ready of 2 (min 1, max 2)"), HasSubstr("2 waiting, room for 98"),
                    HasSubstr("up to 8, waits 50 ms at most"), HasSubstr("ids:int64:[-1, 3]"),
                    HasSubstr("worker 9001"), HasSubstr("not declared"), HasSubstr("text_classifier")));
  Run({"models", "describe", "news", "--all"});
  EXPECT_EQ(LastLine(), "GET /models/news/all");
}

TEST_F(ServerCommandsTest, RegisterSendsItsParameters) {
  const ToolRun run = Run({"models",
                           "register",
                           "my model.mar",
                           "--model-name",
                           "m",
                           "--version",
                           "2.0",
                           "--handler",
                           "tensor",
                           "--batch-size",
                           "4",
                           "--max-batch-delay",
                           "10",
                           "--initial-workers",
                           "2",
                           "--response-timeout",
                           "30",
                           "--input",
                           "x:float32:[3,-1]",
                           "--input",
                           "y:int64:[]",
                           "--batch",
                           "1..64"});
  EXPECT_EQ(run.code, kToolDone) << run.err;
  EXPECT_EQ(run.out, "done \"well\"\n");
  EXPECT_EQ(
      LastLine(),
      "POST "
      "/models?url=my%20model.mar&model_name=m&version=2.0&handler=tensor&batch_size=4&max_batch_delay=10"
      "&initial_workers=2&response_timeout=30&input=x%3Afloat32%3A%5B3%2C-1%5D&input=y%3Aint64%3A%5B%5D"
      "&batch=1..64&synchronous=true");
  Run({"models", "register", "m.mar", "--async"});
  EXPECT_EQ(LastLine(), "POST /models?url=m.mar&initial_workers=1&synchronous=false");
}

TEST_F(ServerCommandsTest, RegisteringALocalFileThatTheServerLacksHintsAtTheModelStore) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("m.mar", "x");
  Reply(404, R"({"code": 404, "type": "ModelNotFoundException", "message": "Model not found at: m.mar"})");
  const ToolRun run = Run({"models", "register", file});
  EXPECT_EQ(run.code, kToolFailed);
  EXPECT_THAT(run.err, AllOf(HasSubstr("error: Model not found at: m.mar\n"), HasSubstr("hint: "),
                             HasSubstr("its own model store"), HasSubstr("as m.mar")));
  EXPECT_THAT(Run({"models", "register", "elsewhere.mar"}).err, Not(HasSubstr("hint")));
}

TEST_F(ServerCommandsTest, ScaleSetDefaultAndUnregister) {
  EXPECT_EQ(Run({"models", "scale", "news", "--min", "2", "--max", "4"}).code, kToolDone);
  EXPECT_EQ(LastLine(), "PUT /models/news?min_worker=2&max_worker=4&synchronous=true");
  Run({"models", "scale", "news", "--min", "0", "--version", "1.0", "--async"});
  EXPECT_EQ(LastLine(), "PUT /models/news/1.0?min_worker=0&synchronous=false");
  Run({"models", "set-default", "news:2.0"});
  EXPECT_EQ(LastLine(), "PUT /models/news/2.0/set-default");
  Run({"models", "unregister", "news"});
  EXPECT_EQ(LastLine(), "DELETE /models/news");
  Run({"models", "unregister", "a b/c", "--version", "1 0"});
  EXPECT_EQ(LastLine(), "DELETE /models/a%20b%2Fc/1%200");
}

TEST_F(ServerCommandsTest, PredictSendsTextJsonFilesAndStandardInput) {
  const TemporaryFolder folder;
  Reply(200, "{\"World\": 0.9}");
  const auto last = [this] { return server_.requests().back(); };

  const ToolRun run =
      Run({"predict", "news:1.0", "--data", "[Stocks] fall", "--timeout-ms", "250", "--priority", "high"});
  EXPECT_EQ(run.code, kToolDone) << run.err;
  EXPECT_EQ(run.out, "{\"World\": 0.9}\n");
  EXPECT_EQ(LastLine(), "POST /predictions/news/1.0");
  EXPECT_EQ(last().body(), "[Stocks] fall");
  EXPECT_EQ(last()["content-type"], "text/plain");
  EXPECT_EQ(last()["x-request-timeout-ms"], "250");
  EXPECT_EQ(last()["x-request-priority"], "high");

  Run({"predict", "news", "--json", "[1, 2]"});
  EXPECT_EQ(last().body(), "[1, 2]");
  EXPECT_EQ(last()["content-type"], "application/json");
  EXPECT_EQ(last().count("x-request-timeout-ms"), 0U);

  const std::string binary("\x89PNG\0\1", 6);
  Run({"predict", "news", "--file", folder.Write("cat.png", binary)});
  EXPECT_EQ(last().body(), binary);
  EXPECT_EQ(last()["content-type"], "image/png");

  Run({"predict", "news", "--file", "-"}, " {\"instances\": []}");
  EXPECT_EQ(last().body(), " {\"instances\": []}");
  EXPECT_EQ(last()["content-type"], "application/json");
  Run({"predict", "news", "--file", "-"}, binary);
  EXPECT_EQ(last()["content-type"], "application/octet-stream");
  Run({"predict", "news", "--file", "-", "--content-type", "text/csv"}, "1,2");
  EXPECT_EQ(last()["content-type"], "text/csv");
}

TEST_F(ServerCommandsTest, ABinaryAnswerIsPrintedAsItIs) {
  reply_ = [](const FakeServer::Request&) {
    FakeServer::Response response = FakeServer::Json(200, std::string("\0\1", 2));
    response.set("content-type", "application/octet-stream");
    return response;
  };
  EXPECT_EQ(Run({"predict", "m", "--data", "x"}).out, std::string("\0\1", 2));
}

TEST_F(ServerCommandsTest, AnErrorIsTheServersMessageAndExitOne) {
  const std::string body =
      "{\n  \"code\": 404,\n  \"type\": \"ModelNotFoundException\",\n  \"message\": \"Model not found: "
      "x\"\n}\n";
  Reply(404, body);
  for (const std::vector<std::string>& args : {std::vector<std::string>{"models", "describe", "x"},
                                               {"models", "scale", "x"},
                                               {"models", "unregister", "x"},
                                               {"models", "list"},
                                               {"predict", "x", "--data", "y"}}) {
    const ToolRun run = Run(args);
    EXPECT_EQ(run.code, kToolFailed);
    EXPECT_EQ(run.err, "error: Model not found: x\n");
    EXPECT_EQ(run.out, "");
  }
  const ToolRun json = Run({"models", "describe", "x", "--json"});
  EXPECT_EQ(json.code, kToolFailed);
  EXPECT_EQ(json.out, body);
  Reply(502, "<html>Bad Gateway");
  EXPECT_EQ(Run({"models", "list"}).err, "error: the server answered 502: <html>Bad Gateway\n");
  Reply(413, "");
  EXPECT_THAT(Run({"predict", "x", "--data", "y"}).err, HasSubstr("the server answered 413"));
}

TEST_F(ServerCommandsTest, AnAnswerOfAnotherServiceIsNoCrash) {
  for (const char* body : {"hello", "[]", "{}", "[1]", "{\"models\": [3, {\"modelName\": 7}]}", "null", "",
                           "[{\"workers\": 3, \"inputs\": 4, \"jobQueueStatus\": []}]"}) {
    Reply(200, body);
    for (const std::vector<std::string>& args : {std::vector<std::string>{"models", "list"},
                                                 {"models", "describe", "x"},
                                                 {"models", "unregister", "x"}}) {
      const ToolRun run = Run(args);
      EXPECT_LE(run.code, kToolFailed) << body;
    }
  }
}

TEST_F(ServerCommandsTest, NoConnectionExitsWithThree) {
  const std::string dead = DeadUrl();
  for (const std::vector<std::string>& args :
       {std::vector<std::string>{"--management", dead, "models", "list"},
        {"--management", dead, "models", "register", "m.mar"},
        {"--inference", dead, "predict", "m", "--data", "x"}}) {
    const ToolRun run = Tool(args);
    EXPECT_EQ(run.code, kToolNoConnection);
    EXPECT_THAT(run.err, AllOf(HasSubstr("connection refused"), HasSubstr("flambeau serve")));
  }
}

TEST_F(ServerCommandsTest, TheEnvironmentGivesUrlsAndFlagsAreStronger) {
  setenv("FLAMBEAU_MANAGEMENT_URL", server_.url().c_str(), 1);
  EXPECT_EQ(Tool({"models", "unregister", "m"}).code, kToolDone);
  setenv("FLAMBEAU_MANAGEMENT_URL", DeadUrl().c_str(), 1);
  EXPECT_EQ(Tool({"models", "unregister", "m", "--management", server_.url()}).code, kToolDone);
  EXPECT_EQ(Tool({"models", "unregister", "m"}).code, kToolNoConnection);
  unsetenv("FLAMBEAU_MANAGEMENT_URL");
}

TEST_F(ServerCommandsTest, UsageErrorsExitWithTwoAndReachNoServer) {
  for (const std::vector<std::string>& args : {std::vector<std::string>{},
                                               {"models"},
                                               {"models", "lift"},
                                               {"models", "register"},
                                               {"models", "set-default", "m"},
                                               {"models", "scale", "m", "--min", "x"},
                                               {"models", "scale", "m", "--min", "-1"},
                                               {"models", "scale", "m", "--wait", "--async"},
                                               {"predict", "m"},
                                               {"predict", "m", "--data", "a", "--json", "1"},
                                               {"predict", "m", "--data", "a", "--priority", "urgent"},
                                               {"predict", "--data", "a"},
                                               {"frobnicate"},
                                               {"models", "list", "extra"}}) {
    const ToolRun run = Run(args);
    EXPECT_EQ(run.code, kToolUsage) << testing::PrintToString(args);
    EXPECT_THAT(run.err, Not(IsEmpty()));
  }
  EXPECT_THAT(server_.lines(), IsEmpty());
}

TEST_F(ServerCommandsTest, AModelNameThatContradictsItselfIsRefused) {
  EXPECT_EQ(Run({"predict", "m:1", "--version", "2", "--data", "x"}).code, kToolFailed);
  EXPECT_EQ(Run({"models", "describe", "m:"}).code, kToolFailed);
  EXPECT_EQ(Run({"models", "describe", ":1"}).code, kToolFailed);
  EXPECT_THAT(server_.lines(), IsEmpty());
}

TEST_F(ServerCommandsTest, HelpListsEveryCommandAndVersionTellsIt) {
  const ToolRun help = Tool({"--help"});
  EXPECT_EQ(help.code, kToolDone);
  for (const char* command : {"serve", "models", "predict", "archive"})
    EXPECT_THAT(help.out, HasSubstr(command));
  const ToolRun version = Tool({"--version"});
  EXPECT_EQ(version.code, kToolDone);
  EXPECT_THAT(version.out, testing::MatchesRegex("flambeau [0-9.]+\n"));
  for (const char* command : {"list", "describe", "register", "scale", "set-default", "unregister"}) {
    const ToolRun run = Tool({"models", command, "--help"});
    EXPECT_EQ(run.code, kToolDone);
    EXPECT_THAT(run.out, HasSubstr(std::string("flambeau models ") + command));
  }
  EXPECT_THAT(Tool({"predict", "--help"}).out, HasSubstr("flambeau predict news"));
}

}  // namespace
}  // namespace serve
