#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model_store/http_client/fake_server.h"
#include "tests/tools/cli/tool_run.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Runs a tool against a server that answers everything with one reply.
class TrafficCommandsTest : public testing::Test {
 protected:
  ToolRun Run(std::vector<std::string> args) {
    args.insert(args.begin(), {"--management", server_.url(), "traffic"});
    return Tool(args);
  }
  /// What the last call sent: its line and its body.
  std::string Sent(const std::vector<std::string>& args) {
    const ToolRun run = Run(args);
    EXPECT_EQ(run.code, kToolDone) << run.err;
    return server_.lines().back() + " " + body_sent_;
  }

  int status_ = 200;
  std::string body_ = R"({"model": "m", "default_version": "1.0", "weights": {"2.0": 10, "1.0": 90},
      "aliases": {"next": "2.0"}, "sticky_header": "X-Sticky-Key", "why": "weights changed by a call",
      "since": "2026-01-02T03:04:05Z",
      "shadow": {"version": "2.0", "percent": 5, "results":
                 {"equal": 7, "different": 1, "failed": 0, "dropped": 2, "largest_difference": 0.5}},
      "rule": {"promote_after": 500, "verdict": "2.0 answered 9 of 500 requests"},
      "versions": [{"version": "1.0", "percent": 90.0, "requests": 90, "errors": 0, "p99_ms": 1.5},
                   {"version": "2.0", "percent": 10.0, "requests": 9, "errors": 1, "p99_ms": 2}],
      "history": [{"default_version": "1.0"}]})";
  std::string body_sent_;
  FakeServer server_{[this](const FakeServer::Request& request) {
    body_sent_ = request.body();
    return FakeServer::Json(status_, body_);
  }};
};

TEST_F(TrafficCommandsTest, ShowIsATable) {
  EXPECT_THAT(Run({"show", "m"}).out,
              AllOf(HasSubstr("1.0 (default)  90 %"), HasSubstr("next     9         1       2.00 ms"),
                    HasSubstr("7 equal, 1 different (largest difference 0.5), 0 failed, 2 dropped"),
                    HasSubstr("decides after 500 requests: 2.0 answered 9 of 500"),
                    HasSubstr("rollback to    default version 1.0")));
  EXPECT_THAT(Run({"show", "m", "--json"}).out, HasSubstr("\"default_version\""));
  body_ = "[]";
  EXPECT_EQ(Run({"show", "m"}).code, kToolFailed);
}

TEST_F(TrafficCommandsTest, EachCommandIsOneCall) {
  EXPECT_THAT(Sent({"split", "m", "2.0=10", "3.0=0.5"}),
              AllOf(HasSubstr("PATCH /traffic/m"), HasSubstr(R"({"weights":{"2.0":10.0,"3.0":0.5}})")));
  EXPECT_THAT(Sent({"split", "m", "2.0=10", "--promote-after", "500", "--sticky-header", "X-User"}),
              AllOf(HasSubstr(R"("promote_after":500)"), HasSubstr(R"("sticky_header":"X-User")")));
  EXPECT_THAT(Sent({"shadow", "m", "2.0", "--percent", "5"}), HasSubstr(R"("version":"2.0","percent":5.0)"));
  EXPECT_THAT(Sent({"shadow", "m", "--off"}), HasSubstr(R"({"shadow": null})"));
  EXPECT_THAT(Sent({"alias", "m", "production=2.0", "--remove", "old"}),
              HasSubstr(R"({"aliases":{"production":"2.0","old":null}})"));
  EXPECT_THAT(Sent({"promote", "m"}), HasSubstr("POST /traffic/m/promote "));
  EXPECT_THAT(Sent({"promote", "m", "2.0"}), HasSubstr("POST /traffic/m/promote?version=2.0"));
  EXPECT_THAT(Sent({"rollback", "m"}), HasSubstr("POST /traffic/m/rollback"));
  EXPECT_THAT(Sent({"clear", "m"}), HasSubstr("DELETE /traffic/m"));
}

TEST_F(TrafficCommandsTest, WhatIsTypedWrongIsSaid) {
  EXPECT_THAT(Run({"split", "m", "2.0"}).err, HasSubstr("`2.0` is not of the form VERSION=PERCENT"));
  EXPECT_THAT(Run({"split", "m", "2.0=x"}).err, HasSubstr("VERSION=PERCENT"));
  EXPECT_EQ(Run({"split", "m", "2.0=1", "--max-p99-ratio", "2"}).code, kToolUsage) << "only with a rule";
  EXPECT_THAT(Run({"alias", "m", "=2.0"}).err, HasSubstr("ALIAS=VERSION"));
  EXPECT_THAT(Run({"alias", "m"}).err, HasSubstr("--remove"));
  EXPECT_THAT(Run({"shadow", "m"}).err, HasSubstr("--off"));
  EXPECT_TRUE(server_.lines().empty());
  status_ = 409;
  body_ = R"({"code": 409, "type": "ConflictStatusException", "message": "nothing to go back to"})";
  EXPECT_EQ(Run({"rollback", "m"}).err, "error: nothing to go back to\n");
}

}  // namespace
}  // namespace serve
