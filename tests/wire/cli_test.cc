// The tools of the program against a real server.

#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

class CliTest : public SharedServer<CliTest> {
 public:
  static ServerProcess::Options Options() { return {{"triple.pt"}, {}, {}}; }

 protected:
  void SetUp() override { server().AddModel("double.pt"); }

  static Ran Tool(const std::vector<std::string>& args, const std::string& input = {}) {
    return RunProgram(
        args,
        {{"FLAMBEAU_MANAGEMENT_URL", "http://127.0.0.1:" + std::to_string(server().management())},
         {"FLAMBEAU_INFERENCE_URL", "http://127.0.0.1:" + std::to_string(server().inference())}},
        input);
  }
};

TEST_F(CliTest, AModelsWholeLife) {
  const Ran registered = Tool({"models", "register", "double.pt", "--model-name", "life", "--input",
                               "x:float32:[2]", "--batch-size", "4", "--initial-workers", "2"});
  EXPECT_EQ(registered.code, 0) << registered.err;
  EXPECT_EQ(registered.out, "Model \"life\" Version: 1.0 registered with 2 initial workers\n");

  const Ran list = Tool({"models", "list"});
  EXPECT_EQ(list.code, 0);
  EXPECT_THAT(list.out, HasSubstr("life"));
  EXPECT_THAT(list.out, HasSubstr("triple"));

  const Ran described = Tool({"models", "describe", "life:1.0"});
  EXPECT_EQ(described.code, 0);
  EXPECT_THAT(described.out, HasSubstr("2 ready of 2"));
  EXPECT_THAT(described.out, HasSubstr("x:float32:[2]"));

  const Ran scaled = Tool({"models", "scale", "life", "--min", "1", "--max", "1"});
  EXPECT_EQ(scaled.code, 0);
  EXPECT_EQ(scaled.out, "Workers scaled to 1 for model: life\n");

  const Ran predicted = Tool({"predict", "life", "--json", "[1, 2]"});
  EXPECT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(nlohmann::json::parse(predicted.out), nlohmann::json({2.0, 4.0}));

  EXPECT_EQ(Tool({"models", "register", "triple.pt", "--model-name", "life", "--version", "2.0"}).code, 0);
  EXPECT_EQ(Tool({"models", "set-default", "life:2.0"}).code, 0);
  EXPECT_EQ(nlohmann::json::parse(Tool({"predict", "life", "--json", "[1]"}).out), nlohmann::json({3.0}));

  const Ran refused = Tool({"models", "unregister", "life:2.0"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("Cannot remove default version for model life"));
  const Ran removed = Tool({"models", "unregister", "life:1.0"});
  EXPECT_EQ(removed.code, 0);
  EXPECT_EQ(removed.out, "Model \"life\" unregistered\n");
}

TEST_F(CliTest, JsonIsTheServersOwnForScripts) {
  const Ran list = Tool({"models", "list", "--json"});
  EXPECT_EQ(list.code, 0);
  EXPECT_EQ(list.out, Get(server().management(), "/models?limit=100").body);
  const nlohmann::json described =
      nlohmann::json::parse(Tool({"--json", "models", "describe", "triple"}).out);
  EXPECT_EQ(described[0]["modelName"], "triple");
  const Ran unknown = Tool({"models", "describe", "nobody", "--json"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_EQ(nlohmann::json::parse(unknown.out)["type"], "ModelNotFoundException");
}

TEST_F(CliTest, PredictReadsFilesAndStandardInput) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("request.json", "{\"instances\": [[1], [2]]}").string();
  EXPECT_EQ(nlohmann::json::parse(Tool({"predict", "triple", "--file", file}).out),
            nlohmann::json::parse("{\"predictions\": [[3.0], [6.0]]}"));
  EXPECT_EQ(nlohmann::json::parse(Tool({"predict", "triple:1.0", "--file", "-"}, "[4]").out),
            nlohmann::json({12.0}));
}

TEST_F(CliTest, WhatTheServerRefusesIsOneClearLineAndExitCodeOne) {
  const Ran unknown = Tool({"predict", "nobody", "--json", "[1]"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_EQ(unknown.err, "error: Model not found: nobody\n");
  const Ran bad = Tool({"predict", "triple", "--json", "[x]"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("invalid JSON"));
  const Ran missing = Tool({"models", "register", "nope.mar"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("Model not found at: nope.mar"));
}

TEST_F(CliTest, WrongUsageIsTwoAndNoConnectionIsThree) {
  EXPECT_EQ(Tool({"models", "explode"}).code, 2);
  EXPECT_EQ(Tool({"models", "set-default", "triple"}).code, 2);
  const Ran nobody = RunProgram({"models", "list", "--management", "http://127.0.0.1:1"});
  EXPECT_EQ(nobody.code, 3);
  EXPECT_THAT(nobody.err, HasSubstr("127.0.0.1:1"));
}

TEST_F(CliTest, AnArchiveOfTheToolIsServed) {
  const TemporaryFolder folder;
  folder.Write("example.json", "[1, 2]");
  const Ran created = Tool({"archive", "create", "--model-name", "tooled", "--version", "1.5",
                            "--serialized-file", ModelFile("double.pt").string(), "--handler", "tensor",
                            "--input", "x:float32:[2]", "--export-path", server().store().string()});
  ASSERT_EQ(created.code, 0) << created.err;
  EXPECT_EQ(Tool({"archive", "verify", (server().store() / "tooled.mar").string()}).code, 0);
  EXPECT_EQ(Tool({"models", "register", "tooled.mar"}).code, 0);
  EXPECT_EQ(nlohmann::json::parse(Tool({"predict", "tooled:1.5", "--json", "[1, 2]"}).out),
            nlohmann::json({2.0, 4.0}));
}

}  // namespace
}  // namespace serve::wire
