// What a monitoring system scrapes.

#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

class MetricsTest : public SharedServer<MetricsTest> {
 public:
  static ServerProcess::Options Options() { return {{"double.pt"}, {"--metrics-mode", "prometheus"}, {}}; }

 protected:
  void SetUp() override {
    ASSERT_EQ(PostJson(server().inference(), "/predictions/double", "[1]").status, 200);
    ASSERT_EQ(PostJson(server().inference(), "/predictions/double", "[x]").status, 400);
  }
};

TEST_F(MetricsTest, TheContentTypeIsThatOfPrometheusText) {
  const HttpResponse response = Get(server().metrics(), "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(Request(server().metrics(), "POST", "/metrics").status, 405);
}

TEST_F(MetricsTest, EveryFamilyIsThereAfterAPrediction) {
  const std::string text = Get(server().metrics(), "/metrics").body;
  for (const std::string family : {"ts_inference_requests_total counter",
                                   "ts_inference_latency_microseconds counter",
                                   "ts_queue_latency_microseconds counter",
                                   "flambeau_predictions_total counter",
                                   "flambeau_rejections_total counter",
                                   "flambeau_batches_total counter",
                                   "flambeau_request_seconds histogram",
                                   "flambeau_queue_seconds histogram",
                                   "flambeau_batch_wait_seconds histogram",
                                   "flambeau_prepare_seconds histogram",
                                   "flambeau_inference_seconds histogram",
                                   "flambeau_render_seconds histogram",
                                   "flambeau_batch_size_rows histogram",
                                   "flambeau_model_load_seconds histogram",
                                   "flambeau_queue_depth gauge",
                                   "flambeau_in_flight_requests gauge",
                                   "flambeau_workers gauge",
                                   "flambeau_http_requests_total counter",
                                   "flambeau_connections gauge",
                                   "process_resident_memory_bytes gauge",
                                   "process_cpu_seconds_total counter"}) {
    EXPECT_THAT(text, HasSubstr("# TYPE " + family + "\n"));
  }
  EXPECT_THAT(text, HasSubstr("model_name=\"double\",model_version=\"1.0\""));
}

TEST_F(MetricsTest, RequestsAreCountedByTheirOutcome) {
  const std::vector<std::string> model = {"model_name=\"double\"", "model_version=\"1.0\""};
  const auto count = [&](const std::string& name, const std::string& label) {
    return server().Metric(name, {model[0], model[1], label});
  };
  const double requests = count("ts_inference_requests_total", "");
  const double succeeded = count("flambeau_predictions_total", "outcome=\"ok\"");
  const double refused = count("flambeau_rejections_total", "reason=\"bad_input\"");
  const double batches = server().Metric("flambeau_batches_total", model);
  const double refused_http = server().Metric("flambeau_http_requests_total", {"code=\"4xx\""});
  EXPECT_EQ(PostJson(server().inference(), "/predictions/double", "[1]").status, 200);
  EXPECT_EQ(PostJson(server().inference(), "/predictions/double", "").status, 400);
  EXPECT_EQ(PostJson(server().inference(), "/predictions/nobody", "[1]").status, 404);
  EXPECT_EQ(count("ts_inference_requests_total", ""), requests + 2);
  EXPECT_EQ(count("flambeau_predictions_total", "outcome=\"ok\""), succeeded + 1);
  EXPECT_EQ(count("flambeau_rejections_total", "reason=\"bad_input\""), refused + 1);
  EXPECT_EQ(server().Metric("flambeau_batches_total", model), batches + 1);
  EXPECT_TRUE(WaitUntil([&] {  // counted once an answer is written, when its client may have read it already
    return server().Metric("flambeau_http_requests_total", {"code=\"4xx\""}) == refused_http + 2;
  }));
  EXPECT_EQ(count("flambeau_request_seconds_count", ""), succeeded + 1);
  EXPECT_GT(count("ts_inference_latency_microseconds", ""), 0);
  EXPECT_EQ(count("flambeau_in_flight_requests", ""), 0);
  EXPECT_EQ(count("flambeau_workers", ""), 1);
  EXPECT_GT(server().Metric("process_resident_memory_bytes"), 1e6);
}

TEST_F(MetricsTest, TheNameFilterKeepsSamplesOfExactlyThoseNames) {
  const std::string text =
      Get(server().metrics(),
          "/metrics?name[]=flambeau_request_seconds_count&name%5B%5D=flambeau_queue_depth")
          .body;
  EXPECT_THAT(text, HasSubstr("\nflambeau_request_seconds_count{"));
  EXPECT_THAT(text, HasSubstr("\nflambeau_queue_depth{"));
  EXPECT_THAT(text, Not(HasSubstr("_bucket")));
  EXPECT_THAT(text, Not(HasSubstr("process_")));
  const HttpResponse nothing = Get(server().metrics(), "/metrics?name[]=no_such_metric");
  EXPECT_EQ(nothing.status, 200);
  EXPECT_EQ(nothing.body, "");
}

TEST_F(MetricsTest, AModelThatIsUnregisteredLeavesNoSamples) {
  MustRegister(server(), "double.pt", "short_lived");
  EXPECT_THAT(Get(server().metrics(), "/metrics").body, HasSubstr("short_lived"));
  EXPECT_EQ(Request(server().management(), "DELETE", "/models/short_lived").status, 200);
  EXPECT_THAT(Get(server().metrics(), "/metrics").body, Not(HasSubstr("short_lived")));
}

TEST(DefaultMetricsTest, PromtoolFindsNothingInTheDefaultMode) {
  if (RunOther("sh", {"-c", "command -v promtool"}, "").code != 0)
    GTEST_SKIP() << "promtool is not installed";
  ServerProcess server({{"double.pt"}, {}, {}});
  ASSERT_EQ(PostJson(server.inference(), "/predictions/double", "[1]").status, 200);
  const Ran ran = RunOther("promtool", {"check", "metrics"}, Get(server.metrics(), "/metrics").body);
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out + ran.err, "");
}

}  // namespace
}  // namespace serve::wire
