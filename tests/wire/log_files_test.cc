// TorchServe's log files and metric lines.

#include <string>

#include "tests/wire/wire_test.h"

namespace serve::wire {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

TEST(LogFilesTest, AreWrittenWhereTheEnvironmentSays) {
  const TemporaryFolder folder;
  const std::string logs = (folder / "logs").string();
  const std::string metrics = (folder / "metrics").string();
  ServerProcess::Options options{{"double.pt"}, {}, {}};
  options.environment = {{"LOG_LOCATION", logs}, {"METRICS_LOCATION", metrics}};
  ServerProcess server(options);
  EXPECT_EQ(PostJson(server.inference(), "/predictions/double", "[1]").status, 200);
  EXPECT_EQ(Get(server.inference(), "/nowhere").status, 404);
  EXPECT_EQ(server.Stop(), 0) << server.Log();

  const std::string access = ReadAll(logs + "/access_log.log");
  EXPECT_THAT(access, ContainsRegex("(^|\n)....-..-..T..:..:..,... - /127\\.0\\.0\\.1:[0-9]+ \"POST "
                                    "/predictions/double HTTP/1\\.1\" 200 [0-9]+\n"));
  EXPECT_THAT(access, HasSubstr("\"GET /nowhere HTTP/1.1\" 404 "));
  EXPECT_THAT(server.process().Out(), HasSubstr("\"GET /nowhere HTTP/1.1\" 404 "));
  EXPECT_THAT(
      ReadAll(logs + "/ts_log.log"),
      ContainsRegex("....-..-..T..:..:..,... \\[INFO \\] thread-[0-9]+ flambeau - Inference API bind to: "
                    "http://127"));
  EXPECT_EQ(ReadAll(logs + "/model_log.log"), "");
  const std::string lines = ReadAll(metrics + "/ts_metrics.log");
  EXPECT_THAT(lines,
              ContainsRegex("....-..-..T..:..:..,... - Requests2XX\\.Count:1\\.0\\|#Level:Host\\|#hostname:"
                            "[^,]+,timestamp:[0-9]+\n"));
  EXPECT_THAT(lines, HasSubstr(" - Requests4XX.Count:1.0|"));
  EXPECT_THAT(lines,
              HasSubstr(" - ts_inference_requests_total.Count:1.0|#model_name:double,model_version:1.0|"));
  EXPECT_THAT(lines, ContainsRegex(" - MemoryUsed\\.Megabytes:[1-9][0-9.]*\\|#Level:Host\\|"));
  EXPECT_THAT(ReadAll(metrics + "/model_metrics.log"),
              ContainsRegex(" - PredictionTime\\.ms:[0-9.]+\\|#ModelName:double,Level:Model\\|#hostname:"));
}

TEST(LogFilesTest, AFileRotatesAndAFolderThatCannotBeMadeKeepsNobodyFromStarting) {
  const TemporaryFolder folder;
  folder.Write("file", "");
  ServerProcess server(
      {{},
       {"--log-files", "true", "--log-location", folder.path().string(), "--metrics-location",
        (folder / "file/metrics").string(), "--log-file-size", "1024", "--log-files-kept", "1"},
       {}});
  // A block of lines is never divided: it takes the next block to make the file rotate.
  EXPECT_TRUE(WaitUntil([&] {
    for (int i = 0; i < 50; ++i) EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
    return std::filesystem::exists(folder / "access_log.log.1");
  }));
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "access_log.log.2"));
  EXPECT_THAT(server.Log(), HasSubstr("cannot write the log file"));
}

TEST(LogFilesTest, AFullDiskLosesLinesAndNoRequest) {
  ServerProcess server({{"double.pt"}, {"--access-log-file", "/dev/full"}, {}});
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(PostJson(server.inference(), "/predictions/double", "[1]").status, 200);
  EXPECT_TRUE(WaitUntil([&] { return server.Metric("flambeau_log_lines_lost_total") >= 20; }));
  EXPECT_EQ(server.Stop(), 0);
  EXPECT_THAT(server.Log(), HasSubstr("log lines are lost, /dev/full takes no more"));
}

TEST(MetricsConfigTest, DecidesWhatIsExported) {
  const TemporaryFolder folder;
  const std::string file = folder
                               .Write("metrics.yaml",
                                      "ts_metrics:\n  counter:\n    - {name: Requests2XX, unit: Requests, "
                                      "dimensions: [Level, Node]}\n    - {name: Mine, unit: Count}\n")
                               .string();
  const ServerProcess server(
      {{}, {"--metrics-config", file, "--metrics-mode", "prometheus", "--disable-system-metrics"}, {}});
  EXPECT_EQ(Get(server.inference(), "/ping").status, 200);
  const std::string text = Get(server.metrics(), "/metrics").body;
  EXPECT_THAT(text,
              HasSubstr("# HELP Requests2XX Torchserve prometheus counter metric with unit: Requests\n"));
  EXPECT_THAT(text, HasSubstr("Requests2XX{Level=\"Host\",Node=\""));
  EXPECT_THAT(text, Not(HasSubstr("Requests4XX")));
  EXPECT_THAT(server.Log(), HasSubstr("ts_metrics: Mine is not exported"));
}

TEST(MetricsConfigTest, ABrokenFileKeepsTheServerFromStarting) {
  const TemporaryFolder folder;
  const std::string file = folder.Write("metrics.yaml", "ts_metrics: {counter: [{name: A}]}\n").string();
  const Ran ran =
      RunProgram({"serve", "--inference-address", "http://127.0.0.1:0", "--management-address",
                  "http://127.0.0.1:0", "--metrics-address", "http://127.0.0.1:0", "--metrics-config", file});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr(file + ": ts_metrics.counter[0] needs a name and a unit"));
  EXPECT_THAT(RunProgram({"serve", "--metrics-config", "/nowhere"}).err, HasSubstr("there is no such file"));
}

}  // namespace
}  // namespace serve::wire
