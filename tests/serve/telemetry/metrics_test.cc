#include "serve/telemetry/metrics.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The samples of a text: `name{labels}` → value as written.
std::map<std::string, std::string> Samples(const std::string& text) {
  std::map<std::string, std::string> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t blank = line.rfind(' ');
    EXPECT_TRUE(samples.emplace(line.substr(0, blank), line.substr(blank + 1)).second) << "twice: " << line;
  }
  return samples;
}

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

constexpr const char* kNews = R"({model_name="news",model_version="1.0")";

TEST(CounterTest, SumsTheThreads) {
  Counter counter;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([&counter] {
        for (int step = 0; step < 1000; ++step) counter.Add(2);
      });
    }
  }
  EXPECT_EQ(counter.Value(), 24'000u);
}

TEST(HistogramTest, AValueOnABoundBelongsToItsBucket) {
  const std::vector<double> bounds = {1, 2, 4};
  Histogram histogram(bounds);
  for (const double value : {0.5, 1.0, 1.5, 4.0, 100.0}) histogram.Observe(value);
  const Histogram::Snapshot read = histogram.Read();
  EXPECT_THAT(read.counts, ::testing::ElementsAre(2, 1, 1, 1));
  EXPECT_EQ(read.count, 5u);
  EXPECT_DOUBLE_EQ(read.sum, 107.0);
}

TEST(HistogramTest, BoundsAscendAndFit) {
  for (const auto* bounds : {&LatencyBounds(), &BatchSizeBounds(), &LoadBounds()}) {
    EXPECT_LE(bounds->size(), Histogram::kMaxBuckets);
    EXPECT_TRUE(std::is_sorted(bounds->begin(), bounds->end()));
  }
  EXPECT_DOUBLE_EQ(LatencyBounds().front(), 50e-6);
  EXPECT_DOUBLE_EQ(LatencyBounds().back(), 60);
  EXPECT_EQ(BatchSizeBounds().back(), 1024);
}

TEST(HistogramTest, ObservationsOfManyThreadsAreAllCounted) {
  Histogram histogram(LatencyBounds());
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([&histogram] {
        for (int step = 0; step < 1000; ++step) histogram.Observe(0.5);
      });
    }
  }
  EXPECT_EQ(histogram.Read().count, 12'000u);
  EXPECT_DOUBLE_EQ(histogram.Read().sum, 6'000.0);
}

TEST(MetricsTest, AWorkflowsSeriesComeAndGoWithIt) {
  Metrics metrics(false);
  EXPECT_THAT(metrics.Text({}), Not(HasSubstr("flambeau_workflow_")));
  {
    const auto workflow = metrics.ForWorkflow("w");
    EXPECT_EQ(metrics.ForWorkflow("w"), workflow);
    workflow->requests[1].Add(3);
    workflow->duration.Observe(0.2);
    const auto samples = Samples(metrics.Text({}));
    EXPECT_EQ(samples.at(R"(flambeau_workflow_requests_total{workflow="w",code="2xx"})"), "3");
    EXPECT_EQ(samples.at(R"(flambeau_workflow_requests_total{workflow="w",code="5xx"})"), "0");
    EXPECT_EQ(samples.at(R"(flambeau_workflow_duration_seconds_count{workflow="w"})"), "1");
  }
  EXPECT_THAT(metrics.Text({}), Not(HasSubstr("flambeau_workflow_")));
}

TEST(MetricsTest, AModelsCountersAppearWithItsLabels) {
  Metrics metrics(false);
  const auto model = metrics.ForModel("news", "1.0");
  model->requests.Add(3);
  model->succeeded.Add(2);
  model->failed.Add();
  model->rejected[static_cast<std::size_t>(RejectReason::kQueueFull)].Add(5);
  model->batches[static_cast<std::size_t>(BatchReason::kFull)].Add(7);
  model->workers[static_cast<std::size_t>(WorkerState::kReady)].Set(4);
  model->queue_depth.Set(9);

  auto samples = Samples(metrics.Text({}));
  const std::string news = kNews;
  EXPECT_EQ(samples["ts_inference_requests_total" + news + ",hostname=\"" + HostName() + "\"}"], "3");
  EXPECT_EQ(samples["flambeau_predictions_total" + news + R"(,outcome="ok"})"], "2");
  EXPECT_EQ(samples["flambeau_predictions_total" + news + R"(,outcome="error"})"], "1");
  EXPECT_EQ(samples["flambeau_rejections_total" + news + R"(,reason="queue_full"})"], "5");
  EXPECT_EQ(samples["flambeau_rejections_total" + news + R"(,reason="shutdown"})"], "0");
  EXPECT_EQ(samples["flambeau_batches_total" + news + R"(,reason="full"})"], "7");
  EXPECT_EQ(samples["flambeau_workers" + news + R"(,state="ready"})"], "4");
  EXPECT_EQ(samples["flambeau_queue_depth" + news + "}"], "9");
}

TEST(MetricsTest, HistogramBucketsAreCumulativeAndEndWithInfinity) {
  Metrics metrics(false);
  const auto model = metrics.ForModel("news", "1.0");
  model->total.Observe(0.0002);
  model->total.Observe(0.003);
  model->total.Observe(1000);

  auto samples = Samples(metrics.Text({}));
  const std::string bucket = std::string("flambeau_request_seconds_bucket") + kNews;
  EXPECT_EQ(samples[bucket + R"(,le="0.0001"})"], "0");
  EXPECT_EQ(samples[bucket + R"(,le="0.00025"})"], "1");
  EXPECT_EQ(samples[bucket + R"(,le="0.005"})"], "2");
  EXPECT_EQ(samples[bucket + R"(,le="60"})"], "2");
  EXPECT_EQ(samples[bucket + R"(,le="+Inf"})"], "3");
  EXPECT_EQ(samples[std::string("flambeau_request_seconds_count") + kNews + "}"], "3");
}

TEST(MetricsTest, AHistogramWithoutObservationsIsExportedWithZeros) {
  Metrics metrics(false);
  const auto model = metrics.ForModel("news", "1.0");
  auto samples = Samples(metrics.Text({}));
  for (const char* name : {"request_seconds", "queue_seconds", "batch_wait_seconds", "prepare_seconds",
                           "inference_seconds", "render_seconds", "batch_size_rows", "model_load_seconds"}) {
    const std::string family = std::string("flambeau_") + name;
    EXPECT_EQ(samples[family + "_count" + kNews + "}"], "0") << name;
    EXPECT_EQ(samples[family + "_bucket" + kNews + R"(,le="+Inf"})"], "0") << name;
  }
}

TEST(MetricsTest, TheSeriesOfAModelVanishWithItsLastHolder) {
  Metrics metrics(false);
  auto model = metrics.ForModel("news", "1.0");
  EXPECT_THAT(metrics.Text({}), HasSubstr("model_name=\"news\""));
  model.reset();
  EXPECT_THAT(metrics.Text({}), Not(HasSubstr("model_name=\"news\"")));
}

TEST(MetricsTest, AVersionThatIsReplacedSharesItsSeries) {
  Metrics metrics(false);
  const auto draining = metrics.ForModel("news", "1.0");
  const auto successor = metrics.ForModel("news", "1.0");
  EXPECT_EQ(draining, successor);
  EXPECT_NE(metrics.ForModel("news", "2.0"), successor);
  Samples(metrics.Text({}));  // fails when a series appears twice
}

TEST(MetricsTest, HttpRequestsAreCountedByClassOfStatus) {
  Metrics metrics(false);
  metrics.CountHttp(200);
  metrics.CountHttp(206);
  metrics.CountHttp(404);
  metrics.CountHttp(503);
  metrics.CountHttp(777);  // not a status: counted as the server's fault
  auto samples = Samples(metrics.Text({}));
  EXPECT_EQ(samples[R"(flambeau_http_requests_total{code="2xx"})"], "2");
  EXPECT_EQ(samples[R"(flambeau_http_requests_total{code="3xx"})"], "0");
  EXPECT_EQ(samples[R"(flambeau_http_requests_total{code="4xx"})"], "1");
  EXPECT_EQ(samples[R"(flambeau_http_requests_total{code="5xx"})"], "2");
}

TEST(MetricsTest, TorchServesNamesOutsideTheBaseUnitsAreOptional) {
  const std::string host = HostName();
  Metrics with(true);
  const auto model = with.ForModel("news", "1.0");
  model->latency_nanos.Add(2'500'000);
  model->queue_nanos.Add(1'500);
  with.CountHttp(200);
  auto samples = Samples(with.Text({}));
  EXPECT_EQ(samples["ts_inference_latency_microseconds" + std::string(kNews) + ",hostname=\"" + host + "\"}"],
            "2500");
  EXPECT_EQ(samples["ts_queue_latency_microseconds" + std::string(kNews) + ",hostname=\"" + host + "\"}"],
            "1.5");
  EXPECT_EQ(samples["Requests2XX{Level=\"Host\",Hostname=\"" + host + "\"}"], "1");
  EXPECT_EQ(samples["Requests5XX{Level=\"Host\",Hostname=\"" + host + "\"}"], "0");

  Metrics without(false);
  const auto other = without.ForModel("news", "1.0");
  EXPECT_THAT(without.Text({}), Not(HasSubstr("microseconds")));
  EXPECT_THAT(without.Text({}), Not(HasSubstr("Requests2XX")));
}

TEST(MetricsTest, ProcessValuesArePlausible) {
  auto samples = Samples(Metrics(false).Text({}));
  const auto value = [&samples](const char* name) { return std::stod(samples.at(name)); };
  EXPECT_GT(value("process_resident_memory_bytes"), 100e3);
  EXPECT_GT(value("process_virtual_memory_bytes"), value("process_resident_memory_bytes"));
  EXPECT_GE(value("process_threads"), 1);
  EXPECT_GE(value("process_open_fds"), 1);
  EXPECT_GT(value("process_max_fds"), value("process_open_fds"));
  EXPECT_LE(value("process_start_time_seconds"), static_cast<double>(time(nullptr)) + 2);
  EXPECT_GT(value("process_start_time_seconds"), 1.6e9);
}

TEST(MetricsTest, TheFilterKeepsExactSampleNamesOnly) {
  Metrics metrics(false);
  const auto model = metrics.ForModel("news", "1.0");
  const std::string text =
      metrics.Text({"flambeau_request_seconds_count", "process_threads", "flambeau_workers_"});
  auto samples = Samples(text);
  EXPECT_EQ(samples.size(), 2u) << text;
  EXPECT_TRUE(samples.count(std::string("flambeau_request_seconds_count") + kNews + "}"));
  EXPECT_TRUE(samples.count("process_threads"));
  EXPECT_THAT(text, HasSubstr("# TYPE flambeau_request_seconds histogram"));
  EXPECT_THAT(text, Not(HasSubstr("flambeau_workers")));
  // As in TorchServe, a histogram's own name is no sample.
  EXPECT_EQ(metrics.Text({"flambeau_request_seconds"}), "");
}

TEST(MetricsTest, LabelValuesAreEscaped) {
  Metrics metrics(false);
  const auto model = metrics.ForModel("a\"b\\c\nd", "1.0");
  EXPECT_THAT(metrics.Text({}), HasSubstr(R"(model_name="a\"b\\c\nd")"));
}

/// The rules of Prometheus' linter that a family of ours could break.
void CheckLintRules(const std::string& text) {
  std::set<std::string> helped;
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, kind, name, rest;
    words >> hash >> kind >> name >> rest;
    if (hash != "#") continue;
    if (kind == "HELP" && !rest.empty()) helped.insert(name);
    if (kind != "TYPE") continue;
    EXPECT_TRUE(types.emplace(name, rest).second) << "declared twice: " << name;
  }
  EXPECT_GT(types.size(), 25u);
  const auto ends_with = [](const std::string& name, std::string_view end) {
    return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
  };
  for (const auto& [name, type] : types) {
    EXPECT_TRUE(helped.count(name)) << name << " has no HELP";
    EXPECT_EQ(type == "counter", ends_with(name, "_total")) << name << " is a " << type;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos) << name;
    for (const char* suffix : {"_bucket", "_count", "_sum"}) EXPECT_FALSE(ends_with(name, suffix)) << name;
    for (const char* unit :
         {"_ms", "_us", "_milliseconds", "_microseconds", "_nanoseconds", "_minutes", "_percent",
          "_kilobytes", "_megabytes", "_mb", "_gauge", "_counter", "_histogram"}) {
      EXPECT_EQ((name + "_").find(std::string(unit) + "_"), std::string::npos)
          << name << " contains " << unit;
    }
  }
}

TEST(MetricsTest, NothingForALinterToComplainAbout) {
  Metrics metrics(false);
  CheckLintRules(metrics.Text({}));  // before any model
  const auto model = metrics.ForModel("news", "1.0");
  const auto second = metrics.ForModel("other", "2.0");
  model->total.Observe(0.1);
  const std::string text = metrics.Text({});
  CheckLintRules(text);

  // The same question to the real linter, where there is one.
  if (std::system("command -v promtool > /dev/null 2>&1") != 0) return;
  std::string pattern = (std::filesystem::temp_directory_path() / "flambeau_metrics_XXXXXX").string();
  const std::filesystem::path folder = mkdtemp(pattern.data());
  std::ofstream(folder / "metrics.txt") << text;
  const std::string command = "promtool check metrics < " + (folder / "metrics.txt").string() + " > " +
                              (folder / "out").string() + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream out(folder / "out");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(out), {}), "");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace serve
