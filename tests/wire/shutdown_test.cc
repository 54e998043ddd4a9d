// SIGTERM and SIGINT: what was accepted is finished, within the grace period. Each test has a server of its
// own.

#include <signal.h>
#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// A server with slow.pt, whose worker is busy for `milliseconds` with a request that was sent.
class ShutdownTest : public testing::Test {
 protected:
  void StartIdle(std::vector<std::string> flags = {}) {
    flags.insert(flags.end(), {"--inline-limit-us", "0"});  // what runs is to be seen on a worker
    server_.emplace(ServerProcess::Options{{"slow.pt"}, flags, {}});
  }
  void Start(int milliseconds, const std::vector<std::string>& flags = {}) {
    StartIdle(flags);
    running_.emplace(server_->inference(), "/predictions/slow", Numbers(1, std::to_string(milliseconds)));
    ASSERT_TRUE(WaitUntil([&] { return server_->Metric("flambeau_workers", {"state=\"busy\""}) == 1; }));
  }
  [[nodiscard]] bool WaitUntilNothingIsAccepted() const {
    return WaitUntil([&] { return !CanConnect(server_->inference()) && !CanConnect(server_->management()); });
  }

  std::optional<ServerProcess> server_;
  std::optional<Pending> running_;
};

TEST_F(ShutdownTest, WhatIsRunningAndWhatWaitsIsAnsweredAndNothingNewIsTaken) {
  Start(700);
  Pending waiting(server_->inference(), "/predictions/slow", "[1]");
  ASSERT_TRUE(WaitUntil([&] { return server_->Metric("flambeau_queue_depth") == 1; }));
  WireConnection idle(server_->inference());
  EXPECT_EQ(idle.Request("GET", "/ping").status, 200);
  server_->process().Signal(SIGTERM);
  EXPECT_TRUE(idle.ReadEnd());
  EXPECT_TRUE(WaitUntilNothingIsAccepted());
  const HttpResponse answer = running_->Answer();
  EXPECT_TRUE(IsJson(answer, "[700.0]"));
  EXPECT_EQ(answer.Header("connection"), "close");
  EXPECT_TRUE(IsJson(waiting.Answer(), "[1.0]"));
  EXPECT_EQ(server_->process().WaitForExit(), 0) << server_->Log();
  EXPECT_THAT(server_->Temporary(), IsEmpty());
  EXPECT_THAT(server_->Log(), HasSubstr("Stopped."));
}

TEST_F(ShutdownTest, SigintDoesTheSame) {
  Start(300);
  server_->process().Signal(SIGINT);
  EXPECT_TRUE(IsJson(running_->Answer(), "[300.0]"));
  EXPECT_EQ(server_->process().WaitForExit(), 0) << server_->Log();
}

TEST_F(ShutdownTest, ASecondSignalEndsAtOnce) {
  Start(300'000, {"--grace", "300"});
  server_->process().Signal(SIGTERM);
  ASSERT_TRUE(WaitUntilNothingIsAccepted());
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().WaitForExit(), 128 + SIGTERM);
  EXPECT_THAT(server_->Log(), HasSubstr("Second signal"));
  EXPECT_THAT(server_->Temporary(), IsEmpty());
}

TEST_F(ShutdownTest, AModelThatStillComputesAfterTheGracePeriodIsCutOff) {
  Start(300'000, {"--grace", "1"});
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().WaitForExit(), 1) << server_->Log();
  EXPECT_THAT(server_->Log(), HasSubstr("The grace period is over"));
  EXPECT_THAT(server_->Temporary(), IsEmpty());
}

TEST_F(ShutdownTest, AClientThatNeverFinishesItsRequestDoesNotOutlastTheGracePeriod) {
  StartIdle({"--grace", "1"});
  WireConnection stalled(server_->inference());
  stalled.Send("POST /predictions/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[");
  server_->process().Signal(SIGTERM);
  EXPECT_TRUE(server_->process().WaitForExit().has_value()) << server_->Log();
}

TEST(LoadingTest, PingSaysThatModelsAreLoadingAndASignalDoesNotWaitForThem) {
  const TemporaryFolder folder;
  CreateOptions options;
  options.model_name = "endless";
  options.version = "1.0";
  options.handler = "tensor";
  options.serialized_file = ModelFile("slow.pt");
  options.example_input = folder.Write("example.json", "[300000]");
  options.export_path = folder.path();
  ASSERT_TRUE(CreateArchive(options).has_value());
  ServerProcess::Options start;
  start.flags = {"--model-store", folder.path().string(), "--models", "all"};
  start.wait_for_models = false;
  ServerProcess server(start);
  const HttpResponse ping = Get(server.inference(), "/ping");
  EXPECT_EQ(ping.status, 503);
  EXPECT_THAT(ping.Text("reason"), HasSubstr("loading"));
  ASSERT_TRUE(WaitUntil([&] { return !server.Unpacked().empty(); }));
  EXPECT_EQ(server.Stop(), 0) << server.Log();
  EXPECT_THAT(server.Temporary(), IsEmpty());
}

/// A model that was quick when it was measured may run on the thread that reads requests. An input for which
/// it is slow must not take the server with it.
class SlowAfterAllTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& flags, const Environment& environment) {
    const TemporaryFolder folder;
    server_.emplace(ServerProcess::Options{{}, flags, environment});
    CreateOptions options;
    options.model_name = "quick";
    options.example_input = folder.Write("example.json", "[0]");
    Pack(*server_, "slow.pt", options);
    ASSERT_EQ(Register(*server_, "url=quick.mar&initial_workers=1").status, 200);
  }

  std::optional<ServerProcess> server_;
};

TEST_F(SlowAfterAllTest, TheGracePeriodHolds) {
  Start({"--grace", "1"}, {{"FLAMBEAU_INLINE_LIMIT_US", "100000"}});
  WireConnection client(server_->inference());
  EXPECT_EQ(client.Request("GET", "/ping").status, 200);
  client.Send(RequestText("POST", "/predictions/quick", {{"Content-Type", "application/json"}}, "[300000]"));
  server_->process().Signal(SIGTERM);
  EXPECT_EQ(server_->process().WaitForExit(std::chrono::seconds(20)), 1) << server_->Log();
}

TEST_F(SlowAfterAllTest, OnceSeenItKeepsOffTheThreadThatReads) {
  Start({}, {});
  EXPECT_TRUE(IsJson(PostJson(server_->inference(), "/predictions/quick", "[300]"), "[300.0]"));
  Pending running(server_->inference(), "/predictions/quick", "[30000]", {{"X-Request-Timeout-Ms", "200"}});
  EXPECT_EQ(Get(server_->inference(), "/ping").status, 200);
  EXPECT_TRUE(IsError(running.Answer(), 504, "RequestTimeoutException", "200 ms")) << server_->Log();
}

}  // namespace
}  // namespace serve::wire
