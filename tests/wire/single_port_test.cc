// Several APIs on one port: routes do not shadow each other, and each asks for its own key. And a Unix socket
// in place of a port.

#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;

ServerProcess::Options SinglePort(const std::vector<std::string>& more) {
  ServerProcess::Options options;
  options.models = {"double.pt"};
  options.pass_addresses = false;
  options.flags = {"--inference-address", "http://127.0.0.1:0", "--single-port"};
  options.flags.insert(options.flags.end(), more.begin(), more.end());
  return options;
}

TEST(SinglePortTest, EverythingIsServedWithoutShadows) {
  ServerProcess server(SinglePort({"--insecure"}));
  const int port = server.inference();
  EXPECT_EQ(server.management(), port);
  EXPECT_EQ(server.metrics(), port);
  EXPECT_TRUE(IsJson(PostJson(port, "/predictions/double", "[1]"), "[2.0]"));
  EXPECT_TRUE(IsJson(PostJson(port, "/models/double/invoke", "[1]"), "[2.0]"));
  EXPECT_EQ(Get(port, "/models/double").Json()[0]["modelVersion"], "1.0");
  EXPECT_EQ(Get(port, "/models/double/1.0").Json()[0]["modelVersion"], "1.0");
  EXPECT_EQ(Request(port, "PUT", "/models/double/1.0?min_worker=1&synchronous=true").status, 200);
  EXPECT_EQ(Request(port, "PUT", "/models/double/1.0/set-default").status, 200);
  EXPECT_THAT(Get(port, "/metrics").body, HasSubstr("flambeau_predictions_total"));
  const nlohmann::json paths = Request(port, "OPTIONS", "/").Json().at("paths");
  for (const char* path :
       {"/predictions/{model}", "/models/{model}/{version}", "/models/{model}/invoke", "/metrics", "/ping"}) {
    EXPECT_TRUE(paths.contains(path)) << path;
  }
  EXPECT_EQ(Request(port, "DELETE", "/models/double/1.0").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(SinglePortTest, EachRouteAsksForItsOwnKey) {
  const TemporaryFolder folder;
  const std::string keys =
      folder
          .Write("tokens.json",
                 R"({"inference": ["inference-key-1234"], "management": ["management-key-1234"]})")
          .string();
  ServerProcess server(SinglePort({"--token-file", keys}));
  const int port = server.inference();
  const Headers inference = {{"Authorization", "Bearer inference-key-1234"}};
  const Headers management = {{"Authorization", "Bearer management-key-1234"}};
  struct Case {
    const char* method;
    const char* path;
    const Headers& right;
    const Headers& wrong;
  };
  const Case cases[] = {
      {"POST", "/predictions/double", inference, management},
      {"POST", "/models/double/invoke", inference, management},
      {"GET", "/ping", inference, management},
      {"GET", "/metrics", inference, management},
      {"OPTIONS", "/predictions/double", inference, management},
      {"GET", "/models", management, inference},
      {"GET", "/models/double/1.0", management, inference},
      {"PUT", "/models/double/1.0/set-default", management, inference},
      {"OPTIONS", "/models/double", management, inference},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(Request(port, one.method, one.path, {}, "").status, 401) << one.path;
    EXPECT_EQ(Request(port, one.method, one.path, one.wrong, "").status, 401) << one.path;
    Headers right = one.right;
    right.emplace_back("Content-Type", "application/json");
    const bool predicts = std::string(one.method) == "POST";
    EXPECT_EQ(Request(port, one.method, one.path, right, predicts ? "[1]" : "").status, 200) << one.path;
  }
  EXPECT_EQ(Request(port, "OPTIONS", "/").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(SinglePortTest, WithoutTokensTheManagementApiIsNotThere) {
  ServerProcess server(SinglePort({}));
  EXPECT_EQ(server.management(), 0);
  EXPECT_EQ(Get(server.inference(), "/models").status, 404);
  EXPECT_EQ(Request(server.inference(), "DELETE", "/models/double").status, 404);
  EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/double", "[1]"), "[2.0]"));
  EXPECT_THAT(server.Log(), HasSubstr("the management API is not served"));
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

TEST(UnixSocketTest, ServesAnApiAndGoesWithTheServer) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "m.sock";
  ServerProcess::Options options;
  options.models = {"double.pt"};
  options.pass_addresses = false;
  options.flags = {"--inference-address", "http://127.0.0.1:0", "--metrics-address", "http://127.0.0.1:0",
                   "--management-address=unix:" + path.string()};
  {
    ServerProcess server(options);
    WireConnection connection(path);
    EXPECT_EQ(connection.Request("GET", "/models/double").Json()[0]["modelVersion"], "1.0");
    EXPECT_EQ(connection.Request("PUT", "/models/double?min_worker=2&synchronous=true").status, 200);
    EXPECT_TRUE(IsJson(PostJson(server.inference(), "/predictions/double", "[1]"), "[2.0]"));
    EXPECT_THROW(ServerProcess{options}, std::runtime_error);  // it is in use
    server.process().Signal(SIGKILL);
    EXPECT_EQ(server.process().WaitForExit(), 128 + SIGKILL);
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  // What a killed server left behind is taken over.
  ServerProcess server(options);
  EXPECT_EQ(WireConnection(path).Request("GET", "/models/double").status, 200);
  EXPECT_EQ(server.Stop(), 0) << server.Log();
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace serve::wire
