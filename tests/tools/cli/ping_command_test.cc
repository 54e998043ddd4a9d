#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/http_client/fake_server.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

using testing::HasSubstr;

class PingCommandTest : public testing::Test {
 protected:
  void SetUp() override { unsetenv("PORT"); }
  void TearDown() override { unsetenv("PORT"); }

  int status_ = 200;
  std::string body_ = R"({"status": "Healthy"})";
  FakeServer server_{[this](const FakeServer::Request&) { return FakeServer::Json(status_, body_); }};
};

TEST_F(PingCommandTest, AReadyServerIsZeroAndOneThatLoadsIsOneWithItsReason) {
  const ToolRun ready = Tool({"ping", server_.url()});
  EXPECT_EQ(ready.code, 0) << ready.err;
  EXPECT_EQ(ready.out, "ready\n");
  EXPECT_THAT(server_.lines().back(), HasSubstr("GET /ping"));
  EXPECT_EQ(Tool({"ping", "--quiet", server_.url()}).out, "");
  status_ = 503;
  body_ = R"({"status": "Unhealthy", "reason": "models are still loading"})";
  const ToolRun loading = Tool({"ping", server_.url()});
  EXPECT_EQ(loading.code, 1);
  EXPECT_EQ(loading.err, "not ready: models are still loading\n");
}

TEST_F(PingCommandTest, WhoIsAskedMayBeSaidInFourWays) {
  EXPECT_EQ(Tool({"--inference", server_.url(), "ping"}).code, 0);
  EXPECT_EQ(Tool({"ping", "--live", server_.url() + "/"}).code, 0);
  EXPECT_THAT(server_.lines().back(), HasSubstr("GET /v2/health/live"));
  EXPECT_EQ(Tool({"ping", server_.url() + "/v2/models/m/ready"}).code, 0);
  EXPECT_THAT(server_.lines().back(), HasSubstr("GET /v2/models/m/ready"));
  const std::string url = server_.url();
  setenv("PORT", url.substr(url.rfind(':') + 1).c_str(), 1);
  EXPECT_EQ(Tool({"ping"}).code, 0);
}

TEST_F(PingCommandTest, NobodyThereIsOneToo) {
  const ToolRun nobody = Tool({"ping", "http://127.0.0.1:1"});
  EXPECT_EQ(nobody.code, 1) << "a health check knows 0 and 1";
  EXPECT_THAT(nobody.err, HasSubstr("127.0.0.1:1"));
  EXPECT_EQ(Tool({"ping", "--explode"}).code, 2);
}

}  // namespace
}  // namespace serve
