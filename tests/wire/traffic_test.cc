// Requests are divided between versions as the plan says, and nobody loses one while it changes.

#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

/// `double` answers 2, `triple` 3.
class TrafficTest : public SharedServer<TrafficTest> {
 public:
  static ServerProcess::Options Options() {
    return {{}, {"--traffic-rule-interval", "20", "--no-config-snapshots"}, {}};
  }

 protected:
  /// Registers `double` as 1.0 and `triple` as 2.0.
  static void TwoVersions(const std::string& name) {
    MustRegister(server(), "double.pt", name);
    MustRegister(server(), "triple.pt", name, "&version=2.0");
  }
  static HttpResponse Traffic(const std::string& method, const std::string& path,
                              const std::string& body = {}) {
    return Request(server().management(), method, "/traffic/" + path, {{"Content-Type", "application/json"}},
                   body);
  }
  static std::string Ask(const std::string& target, const Headers& headers = {}) {
    return PostJson(server().inference(), target, "[1]", headers).body;
  }
};

/// Clients that ask all the time, each over one connection.
class Clients {
 public:
  Clients(int port, const std::string& model, int count) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, port, model](const std::stop_token& stop) {
        WireConnection connection(port);
        while (!stop.stop_requested()) {
          const HttpResponse response = connection.Request("POST", "/predictions/" + model,
                                                           {{"Content-Type", "application/json"}}, "[1]");
          const std::lock_guard lock(mutex_);
          if (response.status != 200) failures_.push_back(response.body);
          ++answers_[response.body];
        }
      });
    }
  }
  /// What the clients got since the last call, once there are `least` answers.
  std::map<std::string, int> Next(int least) {
    {
      const std::lock_guard lock(mutex_);
      answers_.clear();
    }
    std::map<std::string, int> answers;
    EXPECT_TRUE(WaitUntil([&] {
      const std::lock_guard lock(mutex_);
      answers = answers_;
      int sum = 0;
      for (const auto& [answer, count] : answers) sum += count;
      return sum >= least;
    }));
    return answers;
  }
  std::vector<std::string> Stop() {
    threads_.clear();
    return failures_;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> answers_;
  std::vector<std::string> failures_;
  std::vector<std::jthread> threads_;  // last: they use the others
};

/// Whether `part` of the answers is "[3.0]", within six standard deviations.
testing::AssertionResult IsSplit(const std::map<std::string, int>& answers, double part) {
  int sum = 0;
  int second = 0;
  for (const auto& [answer, count] : answers) {
    sum += count;
    if (answer == "[3.0]") second += count;
  }
  const double allowed = 6 * std::sqrt(sum * part * (1 - part)) + 8;  // 8: under way while the plan changed
  if (std::abs(second - sum * part) <= allowed) return testing::AssertionSuccess();
  return testing::AssertionFailure() << second << " of " << sum << " went to 2.0, wanted " << part;
}

TEST_F(TrafficTest, ARolloutUnderLoadLosesNoRequest) {
  MustRegister(server(), "double.pt", "rollout");
  Clients clients(server().inference(), "rollout", 4);
  EXPECT_TRUE(IsSplit(clients.Next(500), 0));
  MustRegister(server(), "triple.pt", "rollout", "&version=2.0");
  EXPECT_EQ(Traffic("PATCH", "rollout", R"({"weights": {"2.0": 10}})").status, 200);
  EXPECT_TRUE(IsSplit(clients.Next(3000), 0.1));
  EXPECT_EQ(Traffic("PATCH", "rollout", R"({"weights": {"2.0": 50}})").status, 200);
  EXPECT_TRUE(IsSplit(clients.Next(3000), 0.5));
  EXPECT_EQ(Traffic("POST", "rollout/promote").status, 200);
  EXPECT_TRUE(IsSplit(clients.Next(500), 1));
  EXPECT_EQ(Traffic("POST", "rollout/rollback").status, 200);
  EXPECT_TRUE(IsSplit(clients.Next(3000), 0.5));
  EXPECT_TRUE(IsError(Request(server().management(), "DELETE", "/models/rollout/2.0"), 409,
                      "ConflictStatusException", "still has traffic: 50 % of the requests"));
  EXPECT_EQ(Traffic("DELETE", "rollout").status, 200);
  EXPECT_EQ(Request(server().management(), "DELETE", "/models/rollout/2.0").status, 200);
  EXPECT_TRUE(IsSplit(clients.Next(500), 0));
  EXPECT_THAT(clients.Stop(), ElementsAre());
}

TEST_F(TrafficTest, ARulePromotesByItself) {
  TwoVersions("ruled");
  EXPECT_EQ(Traffic("PUT", "ruled", R"({"weights": {"2.0": 30}, "rule": {"promote_after": 200,
                                        "p99_slack_ms": 10000}})")
                .status,
            200);
  Clients clients(server().inference(), "ruled", 2);
  EXPECT_TRUE(WaitUntil([] { return DescribeOne(server(), "ruled")["modelVersion"] == "2.0"; }));
  EXPECT_TRUE(IsSplit(clients.Next(100), 1));
  EXPECT_THAT(clients.Stop(), ElementsAre());
  EXPECT_THAT(Traffic("GET", "ruled").Text("why"), HasSubstr("promoted by the rule: no worse"));
  EXPECT_THAT(server().Log(), HasSubstr("traffic of model ruled: version 2.0 was promoted by the rule"));
  EXPECT_EQ(server().Metric("flambeau_traffic_decisions_total",
                            {R"(model_name="ruled")", R"(decision="promoted")"}),
            1);
}

TEST_F(TrafficTest, AStickyClientStays) {
  TwoVersions("sticky");
  EXPECT_EQ(Traffic("PATCH", "sticky", R"({"weights": {"2.0": 50}})").status, 200);
  std::vector<std::string> first;
  for (int client = 0; client < 40; ++client)
    first.push_back(Ask("/predictions/sticky", {{"X-Sticky-Key", std::to_string(client)}}));
  EXPECT_THAT(first, testing::AllOf(testing::Contains("[2.0]"), testing::Contains("[3.0]")));
  for (int client = 0; client < 40; ++client) {
    const Headers headers = {{"x-sticky-key", std::to_string(client)}};
    EXPECT_EQ(Ask("/predictions/sticky", headers), first[static_cast<std::size_t>(client)]);
    EXPECT_EQ(Ask("/v1/models/sticky:predict", headers), Ask("/v1/models/sticky:predict", headers));
  }
  EXPECT_EQ(Traffic("PATCH", "sticky", R"({"sticky_header": "X-User"})").status, 200);
  const std::string one = Ask("/predictions/sticky", {{"X-User", "joe"}});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Ask("/predictions/sticky", {{"X-User", "joe"}}), one);
}

TEST_F(TrafficTest, ASequenceThatTheBodyNamesIsNotDivided) {
  TwoVersions("kept");
  EXPECT_EQ(Traffic("PATCH", "kept", R"({"weights": {"2.0": 100}})").status, 200);
  const auto infer = [](const std::string& more) {
    return PostJson(
        server().inference(), "/v2/models/kept/infer",
        R"({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}])" + more + "}");
  };
  EXPECT_EQ(infer("").Json()["outputs"][0]["data"][0], 3.0);
  const HttpResponse named = infer(R"(, "parameters": {"sequence_id": "a"})");
  EXPECT_EQ(named.Json()["outputs"][0]["data"][0], 2.0) << named.body;
  EXPECT_EQ(named.Header("ts_request_sequence_id"), "");  // neither version keeps a state
}

TEST_F(TrafficTest, AliasesWorkWhereverAModelIsNamed) {
  TwoVersions("named");
  EXPECT_EQ(Traffic("PATCH", "named", R"({"aliases": {"production": "1.0", "next": "2.0"}})").status, 200);
  EXPECT_EQ(Ask("/predictions/named@next"), "[3.0]");
  EXPECT_EQ(Ask("/predictions/named%40next"), "[3.0]");
  EXPECT_EQ(Ask("/predictions/named@production"), "[2.0]");
  EXPECT_EQ(Ask("/named@next/predict"), "[3.0]");
  EXPECT_EQ(PostJson(server().inference(), "/v1/models/named@next:predict", R"({"instances": [[1]]})").body,
            R"({"predictions":[[3.0]]})");
  const HttpResponse infer =
      PostJson(server().inference(), "/v2/models/named@next/infer",
               R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]})");
  EXPECT_EQ(infer.Json()["model_version"], "2.0") << infer.body;
  EXPECT_EQ(Get(server().inference(), "/v2/models/named@next").Json()["name"], "named");
  EXPECT_TRUE(IsError(PostJson(server().inference(), "/predictions/named@x", "[1]"), 404,
                      "ModelVersionNotFoundException", "Alias x does not exist for model named"));
  EXPECT_EQ(server().Metric("flambeau_traffic_requests_total",
                            {R"(model_name="named")", R"(model_version="2.0")", R"(by="alias")"}),
            5);
}

TEST_F(TrafficTest, AShadowIsCompared) {
  TwoVersions("shadowed");
  EXPECT_EQ(Traffic("PATCH", "shadowed", R"({"shadow": {"version": "2.0"}})").status, 200);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Ask("/predictions/shadowed"), "[2.0]");
  EXPECT_TRUE(WaitUntil([] {
    return server().Metric("flambeau_shadow_total", {R"(model_name="shadowed")", R"(result="different")"}) ==
           10;
  }));
  EXPECT_EQ(Traffic("GET", "shadowed").Json()["shadow"]["results"]["largest_difference"], 0.5);
  EXPECT_EQ(DescribeOne(server(), "shadowed/2.0")["traffic"]["shadow"]["different"], 10);
}

TEST_F(TrafficTest, WhatCannotBeIsRefused) {
  TwoVersions("refused");
  EXPECT_TRUE(IsError(Traffic("GET", "nobody"), 404, "ModelNotFoundException", "Model not found: nobody"));
  EXPECT_TRUE(IsError(Traffic("PATCH", "refused", R"({"weights": {"2.0": 101}})"), 400, "BadRequestException",
                      "a percentage from 0 to 100"));
  EXPECT_TRUE(IsError(Traffic("PUT", "refused", "[]"), 400, "BadRequestException", "object"));
  EXPECT_TRUE(IsError(Traffic("PUT", "refused", R"({"weights": {"9": 5}})"), 404,
                      "ModelVersionNotFoundException", "9, which is not registered"));
  EXPECT_TRUE(IsError(Traffic("POST", "refused/promote"), 400, "BadRequestException", "version is required"));
  EXPECT_TRUE(IsError(Traffic("POST", "refused/rollback"), 409, "ConflictStatusException", "never changed"));
  EXPECT_EQ(Traffic("POST", "refused").status, 405);
  EXPECT_EQ(Traffic("POST", "refused/promote?version=2.0").status, 200);
}

TEST(TrafficKeptTest, APlanSurvivesARestart) {
  const TemporaryFolder store;
  for (const char* name : {"double.pt", "triple.pt"})
    std::filesystem::copy_file(ModelFile(name), store / name);
  const ServerProcess::Options options{{}, {"--model-store", store.path().string()}, {}};
  const auto traffic = [](const ServerProcess& server, const std::string& method, const std::string& path,
                          const std::string& body = {}) {
    return Request(server.management(), method, "/traffic/" + path, {{"Content-Type", "application/json"}},
                   body);
  };
  json before;
  {
    ServerProcess server(options);
    EXPECT_EQ(Register(server, "url=double.pt&model_name=m&initial_workers=1").status, 200);
    EXPECT_EQ(Register(server, "url=triple.pt&model_name=m&version=2.0&initial_workers=1").status, 200);
    EXPECT_EQ(traffic(server, "PUT", "m", R"({"weights": {"2.0": 25}, "aliases": {"next": "2.0"}})").status,
              200);
    EXPECT_EQ(traffic(server, "POST", "m/promote").status, 200);
    EXPECT_EQ(traffic(server, "POST", "m/rollback").status, 200);
    before = traffic(server, "GET", "m").Json();
    server.process().Signal(SIGKILL);
    EXPECT_TRUE(server.process().WaitForExit());
  }
  ServerProcess server(options);
  const json after = traffic(server, "GET", "m").Json();
  for (const char* member :
       {"default_version", "weights", "aliases", "sticky_header", "why", "since", "history"})
    EXPECT_EQ(after[member], before[member]) << member;
  EXPECT_EQ(after["weights"]["2.0"], 25);
  EXPECT_EQ(PostJson(server.inference(), "/predictions/m@next", "[1]").body, "[3.0]");
  EXPECT_EQ(traffic(server, "POST", "m/rollback").Json()["default_version"], "1.0");
  EXPECT_EQ(server.Stop(), 0) << server.Log();
}

}  // namespace
}  // namespace serve::wire
