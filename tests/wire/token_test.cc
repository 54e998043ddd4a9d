// Who may call what, when tokens are asked for.

#include <string>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kRefused =
    "Token Authorization failed. Token either incorrect, expired, or not provided correctly";

class TokenTest : public SharedServer<TokenTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {"--key-file", KeyFile()}, {}}; }

 protected:
  static std::string KeyFile() {
    static const TemporaryFolder folder;
    return (folder / "keys.json").string();
  }
  static std::string Key(const std::string& api) {
    return nlohmann::json::parse(ReadAll(KeyFile()))[api]["key"].get<std::string>();
  }
  static Headers Bearer(const std::string& api) { return {{"Authorization", "Bearer " + Key(api)}}; }
};

TEST_F(TokenTest, InferenceNeedsTheInferenceKeyOnEveryRoute) {
  for (const char* path :
       {"/ping", "/predictions/double", "/predictions/double/1.0", "/predictions/nobody"}) {
    const std::string method = std::string(path) == "/ping" ? "GET" : "POST";
    EXPECT_TRUE(
        IsError(Request(server().inference(), method, path, {}, ""), 401, "InvalidKeyException", kRefused));
    EXPECT_TRUE(IsError(Request(server().inference(), method, path, Bearer("management"), ""), 401,
                        "InvalidKeyException", kRefused));
  }
  EXPECT_EQ(Get(server().inference(), "/ping").Header("www-authenticate"), "Bearer");
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", Bearer("inference")).status, 200);
  EXPECT_TRUE(
      IsJson(PostJson(server().inference(), "/predictions/double", "[1]", Bearer("inference")), "[2.0]"));
}

TEST_F(TokenTest, OtherWaysToWriteAPathSkipNothing) {
  for (const char* path : {"/predictions/double/", "/%70redictions/double", "/predictions/%64ouble",
                           "http://x/predictions/double", "/predictions/double?a=/ping"}) {
    const int status = PostJson(server().inference(), path, "[1]").status;
    EXPECT_TRUE(status == 401 || status == 404) << path << ' ' << status;
  }
  const Headers twice = {{"Authorization", "Bearer " + Key("inference")}, {"Authorization", "Bearer x"}};
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", twice).status, 401);
}

TEST_F(TokenTest, ManagementNeedsTheManagementKey) {
  EXPECT_TRUE(IsError(Get(server().management(), "/models"), 401, "InvalidKeyException", kRefused));
  EXPECT_EQ(Request(server().management(), "GET", "/models", Bearer("inference")).status, 401);
  EXPECT_EQ(Request(server().management(), "GET", "/models", Bearer("management")).status, 200);
  EXPECT_EQ(Request(server().management(), "DELETE", "/models/double").status, 401);
  EXPECT_EQ(Request(server().management(), "PUT", "/models/double?min_worker=1").status, 401);
}

TEST_F(TokenTest, TheMetricsNeedNone) { EXPECT_EQ(Get(server().metrics(), "/metrics").status, 200); }

TEST_F(TokenTest, AKeyIsRenewedWithTheApiKey) {
  const Headers old = Bearer("inference");
  const std::string text =
      "Token Authentication failed. Token either incorrect, expired, or not provided correctly";
  EXPECT_TRUE(IsError(Get(server().management(), "/token?type=inference"), 401, "InvalidKeyException", text));
  EXPECT_TRUE(IsError(Request(server().management(), "GET", "/token?type=inference", Bearer("management")),
                      401, "InvalidKeyException", text));
  EXPECT_TRUE(IsError(Request(server().management(), "GET", "/token?type=other", Bearer("API")), 401,
                      "InvalidKeyException", text));
  const HttpResponse renewed = Request(server().management(), "GET", "/token?type=inference", Bearer("API"));
  EXPECT_EQ(renewed.status, 200);
  EXPECT_EQ(renewed.body, "\n");
  EXPECT_EQ(renewed.Header("content-type"), "application/json");
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", old).status, 401);
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", Bearer("inference")).status, 200);
}

TEST_F(TokenTest, TheToolTakesAKeyInEveryWay) {
  const auto tool = [](std::vector<std::string> args, Environment environment = {}) {
    environment["FLAMBEAU_MANAGEMENT_URL"] = "http://127.0.0.1:" + std::to_string(server().management());
    environment["FLAMBEAU_INFERENCE_URL"] = "http://127.0.0.1:" + std::to_string(server().inference());
    return RunProgram(args, environment);
  };
  const Ran none = tool({"models", "list"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("--token"));
  EXPECT_EQ(tool({"models", "list", "--token", Key("management")}).code, 0);
  EXPECT_EQ(tool({"models", "list"}, {{"FLAMBEAU_TOKEN", Key("management")}}).code, 0);
  EXPECT_EQ(tool({"models", "list", "--key-file", KeyFile()}).code, 0);
  const Ran predicted = tool({"predict", "double", "--json", "[1]", "--key-file", KeyFile()});
  EXPECT_EQ(predicted.code, 0) << predicted.err;
}

TEST_F(TokenTest, NoKeyIsLogged) {
  EXPECT_EQ(Request(server().inference(), "GET", "/ping", Bearer("inference")).status, 200);
  for (const char* api : {"inference", "management", "API"}) {
    EXPECT_THAT(server().Log(), Not(HasSubstr(Key(api))));
  }
  EXPECT_THAT(server().Log(), HasSubstr("Key file located at " + KeyFile()));
}

TEST(LongLivedTokenTest, AManagementAddressForOthersIsOpenedWithAToken) {
  const TemporaryFolder folder;
  const std::string keys =
      folder.Write("tokens.json", R"({"management": ["long-lived-and-secret"]})").string();
  ServerProcess::Options options;
  options.pass_addresses = false;
  options.flags = {"--inference-address", "http://127.0.0.1:0", "--management-address", "http://0.0.0.0:0",
                   "--metrics-address",   "http://127.0.0.1:0", "--token-file",         keys};
  ServerProcess server(options);
  server.AddModel("double.pt");
  const Headers bearer = {{"Authorization", "Bearer long-lived-and-secret"}};
  EXPECT_EQ(Register(server, "url=double.pt").status, 401);
  EXPECT_EQ(Request(server.management(), "POST", "/models?url=double.pt&initial_workers=1", bearer).status,
            200);
  folder.Write("tokens.json", R"({"management": ["another-secret-key"]})");
  EXPECT_TRUE(WaitUntil([&] {
    return Request(server.management(), "GET", "/models", {{"Authorization", "Bearer another-secret-key"}})
               .status == 200;
  }));
  EXPECT_EQ(Request(server.management(), "GET", "/models", bearer).status, 401);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(LongLivedTokenTest, WithoutTokensThereIsNoSuchRoute) {
  const ServerProcess server({{}, {}, {}});
  EXPECT_EQ(Get(server.management(), "/token?type=inference").status, 404);
}

}  // namespace
}  // namespace serve::wire
