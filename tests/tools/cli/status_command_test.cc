#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/model_store/http_client/fake_server.h"
#include "tests/tools/cli/tool_run.h"
#include "tools/cli/metrics_text.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(MetricsTextTest, SamplesAreFoundByNameAndLabels) {
  const MetricsText text(
      "# HELP a b\na{x=\"1\",y=\"q\\\"{},\"} 2\na{x=\"2\"} 3.5e1\nb 7 "
      "1700000000\nbroken{x=\n\nc{le=\"+Inf\"} +Inf\n");
  EXPECT_EQ(text.Sum("a"), 37);
  EXPECT_EQ(text.Sum("a", {{"y", "q\"{},"}}), 2);
  EXPECT_EQ(text.Sum("a", {{"x", "3"}}), 0);
  EXPECT_EQ(text.Sum("b"), 7);
  EXPECT_TRUE(std::isinf(text.Sum("c")));
  EXPECT_TRUE(MetricsText("# nothing\n").empty());
}

TEST(MetricsTextTest, AQuantileIsOfWhatCameInBetween) {
  const MetricsText before("h_bucket{le=\"1\"} 100\nh_bucket{le=\"2\"} 100\nh_bucket{le=\"+Inf\"} 100\n");
  const MetricsText after("h_bucket{le=\"1\"} 100\nh_bucket{le=\"2\"} 110\nh_bucket{le=\"+Inf\"} 112\n");
  const auto from = before.Buckets("h", {});
  const auto to = after.Buckets("h", {});
  EXPECT_DOUBLE_EQ(QuantileBetween(from, to, 0.5), 1.6);
  EXPECT_DOUBLE_EQ(QuantileBetween(from, to, 0.99), 2) << "above the last bound";
  EXPECT_TRUE(std::isnan(QuantileBetween(to, to, 0.5)));
}

/// A server whose counters have moved at every reading.
class StatusCommandTest : public testing::Test {
 protected:
  FakeServer::Response Answer(const FakeServer::Request& request) {
    const std::string path(request.target());
    if (path == "/status") return FakeServer::Json(200, status_);
    if (path == "/models?limit=100") return FakeServer::Json(list_, R"({"models": [{"modelName": "news"}]})");
    if (path == "/models/news/all") return FakeServer::Json(200, description_);
    if (path != "/metrics" || metrics_ != 200)
      return FakeServer::Json(metrics_ == 200 ? 404 : metrics_, "{}");
    readings_ += 100;
    const std::string n = std::to_string(readings_);
    const std::string of = R"({model_name="news",model_version="2.0")";
    return FakeServer::Json(
        200, "flambeau_build_info{version=\"9\"} 1\nprocess_resident_memory_bytes 1048576\n" +
                 ("ts_inference_requests_total" + of + "} " + n + "\n") + "flambeau_workers" + of +
                 ",state=\"busy\"} 1\n" + "flambeau_request_seconds_bucket" + of + ",le=\"0.001\"} " + n +
                 "\n" + "flambeau_request_seconds_bucket" + of + ",le=\"+Inf\"} " + n + "\n" +
                 "flambeau_batch_size_rows_sum" + of + "} " + std::to_string(4 * readings_) +
                 "\nflambeau_batch_size_rows_count" + of + "} " + n + "\n");
  }
  ToolRun Run(std::vector<std::string> args) {
    args.insert(args.begin(),
                {"--management", server_.url(), "status", "--metrics", server_.url(), "--window", "0.05"});
    return Tool(args);
  }

  std::string status_ = R"({"version": "9.9", "uptimeSeconds": 3725, "ready": true, "problems": [
      {"time": "2026-01-02T03:04:05Z", "level": "error", "message": "Failed to load model: x", "times": 2}]})";
  std::string description_ = R"([{"modelName": "news", "modelVersion": "2.0", "defaultVersion": true,
      "workers": [{"id": "1"}, {"id": "2"}], "jobQueueStatus": {"remainingCapacity": 97, "pendingRequests": 3},
      "tuning": {"variant": "optimized", "threads": 2, "workers": 1},
      "traffic": {"percent": 90.0, "aliases": ["production"], "follow": "models:/news@production is version 2"}}])";
  int list_ = 200;
  int metrics_ = 200;
  int readings_ = 0;
  FakeServer server_{[this](const FakeServer::Request& request) { return Answer(request); }};
};

TEST_F(StatusCommandTest, OneScreenSaysWhatMatters) {
  const ToolRun run = Run({});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("flambeau 9.9  ready  up 1 h 2 min  memory 1 MiB"),
                    HasSubstr("news:2.0*               90     1/2    3/100"),
                    HasSubstr("aliases production; runs optimized, 1x2 threads; follows models:/news"),
                    HasSubstr("2026-01-02T03:04:05Z error   (2x) Failed to load model: x")));
  EXPECT_THAT(run.out, Not(HasSubstr("\x1b")));
  std::istringstream lines(run.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(StatusCommandTest, RatesAreThoseBetweenTwoReadings) {
  const auto shown = nlohmann::json::parse(Run({"--json"}).out);
  EXPECT_NEAR(shown["models"][0]["requestsPerSecond"].get<double>(),
              100 / shown["windowSeconds"].get<double>(), 1e-6);
  EXPECT_EQ(shown["models"][0]["batchRows"], 4.0);
  EXPECT_NEAR(shown["models"][0]["p50Ms"].get<double>(), 0.5, 1e-9);
  const auto once = nlohmann::json::parse(Run({"--json", "--once"}).out);
  EXPECT_EQ(once["windowSeconds"], 3725);
}

TEST_F(StatusCommandTest, WatchingShowsItAgain) {
  const ToolRun run = Run({"--watch", "0.1", "--screens", "2", "--json"});
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 2);
}

TEST_F(StatusCommandTest, NotReadyIsThreeAndNobodyIsOne) {
  status_ =
      R"({"version": "9.9", "uptimeSeconds": 1, "ready": false, "reason": "models are loading", "problems": []})";
  const ToolRun run = Run({"--once"});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.out, HasSubstr("NOT READY  up 1 s"));
  EXPECT_THAT(run.out, HasSubstr("  models are loading\n"));
  EXPECT_EQ(Tool({"--management", "http://127.0.0.1:1", "status", "--once"}).code, 1);
}

TEST_F(StatusCommandTest, WithoutMetricsTheRestIsShown) {
  metrics_ = 401;
  const ToolRun run = Run({});
  EXPECT_EQ(run.code, 0);
  EXPECT_THAT(run.out,
              AllOf(HasSubstr("no rates: "), HasSubstr("answers 401"), HasSubstr("-/2    3/100       -")));
}

TEST_F(StatusCommandTest, AListThatDoesNotComeIsNotAnEmptyOne) {
  list_ = 503;
  EXPECT_THAT(Run({"--once"}).out,
              AllOf(HasSubstr("the models cannot be listed: GET /models is answered 503"),
                    HasSubstr("LAST PROBLEMS")));
}

}  // namespace
}  // namespace serve
