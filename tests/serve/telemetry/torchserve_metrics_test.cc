#include "serve/telemetry/torchserve_metrics.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/base/log.h"
#include "serve/telemetry/metric_job.h"
#include "serve/telemetry/metrics.h"
#include "serve/telemetry/metrics_config.h"

namespace serve {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kYaml = R"(
dimensions:
  - &model_name "ModelName"
  - &level "Level"
ts_metrics:
  counter:
    - name: Requests2XX
      unit: Requests
      dimensions: [*level, "Node"]
  gauge:
    - {name: MemoryUsed, unit: MB, dimensions: [Level, Hostname]}
  histogram:
    - {name: QueueTime, unit: Milliseconds, dimensions: [Level, Hostname]}
model_metrics:
  gauge:
    - {name: PredictionTime, unit: ms, dimensions: [*model_name, *level]}
    - {name: MyOwn, unit: ms, dimensions: [*model_name]}
)";

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

TEST(MetricsConfigTest, NamesWhatIsExported) {
  const Result<MetricsConfig> config = ParseMetricsConfig(kYaml);
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->metrics.size(), 3u);
  EXPECT_EQ(config->metrics[0].name, "Requests2XX");
  EXPECT_EQ(config->metrics[0].unit, "Requests");
  EXPECT_THAT(config->metrics[0].dimensions, ElementsAre("Level", "Node"));
  EXPECT_EQ(config->metrics[1].type, TorchServeMetric::Type::kGauge);
  EXPECT_TRUE(config->metrics[2].of_model);
  EXPECT_THAT(config->metrics[2].dimensions, ElementsAre("ModelName", "Level", "Hostname"));
  EXPECT_THAT(config->warnings,
              ElementsAre(StartsWith("ts_metrics: QueueTime is not exported: of times there are histograms"),
                          HasSubstr("MyOwn is not exported: it is not one of TorchServe's own")));
}

TEST(MetricsConfigTest, WhatIsWrongIsNamed) {
  const auto error = [](const char* text) {
    const Result<MetricsConfig> config = ParseMetricsConfig(text);
    return config ? std::string("none") : config.error().message;
  };
  EXPECT_THAT(error("ts_metrics: [\n"), HasSubstr("it is no YAML"));
  EXPECT_THAT(error("just a text"), HasSubstr("must be a map"));
  EXPECT_THAT(error("ts_metrics: {counter: [{name: A}]}"),
              HasSubstr("ts_metrics.counter[0] needs a name and a unit"));
  EXPECT_THAT(error("ts_metrics: {timer: []}"), HasSubstr("ts_metrics has `timer`"));
  EXPECT_THAT(error("ts_metrics: {gauge: 3}"), HasSubstr("ts_metrics.gauge must be a list"));
  EXPECT_EQ(error("ts_metrics:\n"), "none");
}

TEST(MetricsConfigTest, AnotherNumberOfDimensionsKeepsThoseOfTheMetric) {
  const Result<MetricsConfig> config =
      ParseMetricsConfig("ts_metrics: {counter: [{name: Requests4XX, unit: Count, dimensions: [Level]}]}");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->metrics[0].dimensions, ElementsAre("Level", "Hostname"));
  EXPECT_THAT(config->warnings, ElementsAre(HasSubstr("keeps its dimensions Level, Hostname")));
}

TEST(TorchServeMetricsTest, TheListDecidesWhatTheTextHas) {
  Metrics metrics(true);
  metrics.UseTorchServe(ParseMetricsConfig(kYaml)->metrics, true);
  metrics.CountHttp(200);
  metrics.Sample();
  const std::string text = metrics.Text({});
  EXPECT_THAT(text, HasSubstr("# HELP Requests2XX Torchserve prometheus counter metric with unit: Requests\n"
                              "# TYPE Requests2XX counter\nRequests2XX{Level=\"Host\",Node=\""));
  EXPECT_THAT(text, ContainsRegex("MemoryUsed\\{Level=\"Host\",Hostname=\"[^\"]+\"\\} [1-9]"));
  EXPECT_THAT(text, Not(HasSubstr("Requests4XX")));
  EXPECT_THAT(text, Not(HasSubstr("ts_inference_requests_total")));
}

TEST(TorchServeMetricsTest, WithoutSystemMetricsThereAreNone) {
  Metrics metrics(true);
  metrics.UseTorchServe(DefaultTorchServeMetrics(), false);
  metrics.Sample();
  EXPECT_THAT(metrics.Text({}), Not(HasSubstr("MemoryUsed{")));
}

TEST(TorchServeMetricsTest, LinesSayWhatCountersGrewBy) {
  Metrics metrics(false);
  metrics.UseTorchServe(DefaultTorchServeMetrics(), false);
  const auto model = metrics.ForModel("m", "1.0");
  EXPECT_THAT(metrics.LogLines(false), IsEmpty());
  for (int i = 0; i < 3; ++i) metrics.CountHttp(200);
  model->requests.Add(2);
  const std::string start = "^....-..-..T..:..:..,... - ";
  const std::vector<std::string> lines = Lines(metrics.LogLines(false));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(
      lines[0],
      ContainsRegex(start + R"(Requests2XX\.Count:3\.0\|#Level:Host\|#hostname:[^,]+,timestamp:[0-9]+$)"));
  EXPECT_THAT(
      lines[1],
      ContainsRegex(
          start +
          R"(ts_inference_requests_total\.Count:2\.0\|#model_name:m,model_version:1\.0\|#hostname:)"));
  EXPECT_THAT(metrics.LogLines(false), IsEmpty());
  metrics.CountHttp(200);
  EXPECT_THAT(metrics.LogLines(false), HasSubstr("Requests2XX.Count:1.0|"));
}

TEST(TorchServeMetricsTest, TimesAreMeansSinceTheLastLook) {
  Metrics metrics(false);
  metrics.UseTorchServe(DefaultTorchServeMetrics(), false);
  const auto model = metrics.ForModel("m", "1.0");
  model->load.Observe(0.25);
  for (const double seconds : {0.010, 0.030}) {
    model->total.Observe(seconds);
    model->queue.Observe(seconds / 2);
    model->inference.Observe(seconds / 4);
  }
  metrics.Sample();
  const std::string host = metrics.LogLines(false);
  EXPECT_THAT(host, HasSubstr(" - QueueTime.Milliseconds:10.0|#Level:Host|"));
  EXPECT_THAT(host, HasSubstr(" - WorkerThreadTime.Milliseconds:5.0|"));
  EXPECT_THAT(host, HasSubstr(" - WorkerLoadTime.Milliseconds:250.0|#WorkerName:W-9000-m_1.0,Level:Host|"));
  EXPECT_THAT(metrics.LogLines(true),
              HasSubstr(" - PredictionTime.ms:5.0|#ModelName:m,Level:Model|#hostname:"));
  metrics.Sample();  // nothing happened
  EXPECT_THAT(metrics.LogLines(true), IsEmpty());
  EXPECT_THAT(metrics.LogLines(false), Not(HasSubstr("WorkerLoadTime")));
}

TEST(MetricJobTest, WritesTheLinesOfItsLifeAtItsEnd) {
  std::string folder = testing::TempDir() + "flambeau_metric_job_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  LogOptions options;
  options.metrics_folder = folder;
  StartLogging(options);
  Metrics metrics(false);
  const auto model = metrics.ForModel("m", "1.0");
  {
    const MetricJob job(metrics, std::chrono::seconds(3600), true);
    metrics.CountHttp(404);
    model->inference.Observe(0.5);
  }
  StopLogging();
  const auto read = [&folder](const char* name) {
    std::ifstream file(folder + name);
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  EXPECT_THAT(read("/ts_metrics.log"), HasSubstr(" - Requests4XX.Count:1.0|"));
  EXPECT_THAT(read("/ts_metrics.log"), HasSubstr(" - CPUUtilization.Percent:"));
  EXPECT_THAT(read("/model_metrics.log"), HasSubstr(" - PredictionTime.ms:500.0|#ModelName:m,"));
  std::filesystem::remove_all(folder);
}

TEST(SystemStatsTest, AreThoseOfAMachine) {
  SystemStatsReader reader;
  const SystemStats stats = reader.Read();
  EXPECT_GE(stats.cpu_percent, 0);
  EXPECT_LE(stats.cpu_percent, 100);
  EXPECT_GT(stats.memory_used_mb, 0);
  EXPECT_GT(stats.memory_available_mb, 0);
  EXPECT_GT(stats.disk_used_gb + stats.disk_available_gb, 0);
  EXPECT_LE(stats.disk_percent, 100);
}

}  // namespace
}  // namespace serve
