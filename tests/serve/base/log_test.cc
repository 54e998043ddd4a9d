#include "serve/base/log.h"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LogTest : public ::testing::Test {
 protected:
  LogTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "flambeau_log_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    options_.file = (folder_ / "server.log").string();
    options_.access_file = (folder_ / "access.log").string();
  }
  ~LogTest() override {
    StopLogging();
    StartLogging(LogOptions{});  // what the next test expects
    StopLogging();
    std::filesystem::remove_all(folder_);
  }

  static std::vector<std::string> Lines(const std::string& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  std::filesystem::path folder_;
  LogOptions options_;
};

TEST_F(LogTest, TextLinesHaveTimeLevelAndText) {
  StartLogging(options_);
  LogInfo("model {} loaded", "news");
  LogWarning("careful");
  LogError("broken");
  StopLogging();
  // 2024-05-30T21:46:03,625 [INFO ] text
  const std::string time = R"(....-..-..T..:..:..,...)";
  EXPECT_THAT(Lines(options_.file), ElementsAre(MatchesRegex(time + R"( \[INFO \] model news loaded)"),
                                                MatchesRegex(time + R"( \[WARN \] careful)"),
                                                MatchesRegex(time + R"( \[ERROR\] broken)")));
}

TEST_F(LogTest, JsonLinesAreEscapedAndCarryTheSeverity) {
  options_.format = LogFormat::kJson;
  options_.level = LogLevel::kDebug;
  StartLogging(options_);
  const std::string nasty = "quote \" backslash \\ newline \n tab \t bell \a umlaut \xC3\xA4";
  LogDebug("{}", nasty);
  LogInfo("{}", "not UTF-8: \xFF");
  LogWarning("w");
  LogError("e");
  StopLogging();

  const std::vector<std::string> lines = Lines(options_.file);
  ASSERT_EQ(lines.size(), 4u);
  std::vector<std::string> severities;
  for (const std::string& line : lines) {
    const nlohmann::json object = nlohmann::json::parse(line);
    severities.push_back(object.at("severity"));
    const std::regex rfc3339(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)");
    EXPECT_TRUE(std::regex_match(object.at("time").get<std::string>(), rfc3339)) << line;
  }
  EXPECT_THAT(severities, ElementsAre("DEBUG", "INFO", "WARNING", "ERROR"));
  EXPECT_EQ(nlohmann::json::parse(lines[0]).at("message"), nasty);
  EXPECT_EQ(nlohmann::json::parse(lines[1]).at("message"), "not UTF-8: \xEF\xBF\xBD");
}

TEST_F(LogTest, JsonLinesNameTheTraceOfTheirThreadAndWhereTheServerRuns) {
  options_.format = LogFormat::kJson;
  options_.place = {"lab", "news", "news-0001"};
  StartLogging(options_);
  TraceContext trace;
  MakeTraceId(trace);
  MakeSpanId(trace.span_id);
  trace.sampled = trace.recorded = true;
  {
    const LogTrace scope(&trace);
    LogInfo("inside");
    std::thread([] { LogInfo("another thread"); }).join();
    {
      const LogTrace none(nullptr);
      LogInfo("of no request");
    }
    LogInfo("{}", std::string(300'000, '\1'));
  }
  LogInfo("outside");
  StopLogging();
  const std::vector<std::string> lines = Lines(options_.file);
  ASSERT_EQ(lines.size(), 5u);
  const auto inside = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(inside.at("message"), "inside");
  EXPECT_EQ(inside.at("logging.googleapis.com/trace"), "projects/lab/traces/" + std::string(trace.trace()));
  EXPECT_EQ(inside.at("logging.googleapis.com/spanId"), trace.span());
  EXPECT_EQ(inside.at("logging.googleapis.com/trace_sampled"), true);
  const nlohmann::json labels = {{"k_service", "news"}, {"k_revision", "news-0001"}};
  EXPECT_EQ(inside.at("logging.googleapis.com/labels"), labels);
  for (const std::size_t without : {1, 2, 4}) {
    const auto line = nlohmann::json::parse(lines[without]);
    EXPECT_FALSE(line.contains("logging.googleapis.com/trace")) << lines[without];
    EXPECT_EQ(line.at("logging.googleapis.com/labels"), labels);
  }
  EXPECT_LT(lines[3].size(), 256u * 1024) << "collectors refuse longer lines";
  EXPECT_TRUE(nlohmann::json::parse(lines[3]).contains("logging.googleapis.com/trace"));
}

TEST_F(LogTest, AMessageCannotForgeASecondLine) {
  StartLogging(options_);
  LogInfo("{}", "name\r\n2024-05-30T21:46:03,625 [ERROR] forged");
  StopLogging();
  ASSERT_EQ(Lines(options_.file).size(), 1u);
  EXPECT_THAT(Lines(options_.file)[0], HasSubstr(R"(name\x0d\n2024)"));
}

TEST_F(LogTest, LinesBelowTheLevelAreNotWritten) {
  options_.level = LogLevel::kWarning;
  StartLogging(options_);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  LogInfo("quiet");
  LogLine(LogLevel::kInfo, "quiet too");
  LogWarning("loud");
  StopLogging();
  ASSERT_EQ(Lines(options_.file).size(), 1u);
  EXPECT_THAT(Lines(options_.file)[0], HasSubstr("loud"));
}

TEST_F(LogTest, AccessLinesGoUnformattedToTheirOwnFile) {
  StartLogging(options_);
  AccessLogLines("/127.0.0.1:64003 \"POST /predictions/m HTTP/1.1\" 200 1\n");
  StopLogging();
  EXPECT_THAT(Lines(options_.access_file),
              ElementsAre(R"(/127.0.0.1:64003 "POST /predictions/m HTTP/1.1" 200 1)"));
  EXPECT_TRUE(Lines(options_.file).empty());
}

TEST_F(LogTest, TheAccessLogCanBeOff) {
  options_.access_log = false;
  StartLogging(options_);
  EXPECT_FALSE(AccessLogEnabled());
  AccessLogLines("unwanted\n");
  StopLogging();
  EXPECT_TRUE(Lines(options_.access_file).empty());
}

TEST_F(LogTest, AFileIsContinuedNotCleared) {
  std::ofstream(options_.file) << "from the last run\n";
  StartLogging(options_);
  LogInfo("from this run");
  StopLogging();
  ASSERT_EQ(Lines(options_.file).size(), 2u);
  EXPECT_EQ(Lines(options_.file)[0], "from the last run");
}

TEST_F(LogTest, AFileThatCannotBeOpenedIsReportedAndReplacedByStandardError) {
  options_.file = (folder_ / "missing" / "server.log").string();
  ::testing::internal::CaptureStderr();
  StartLogging(options_);
  LogInfo("still heard");
  StopLogging();
  const std::string seen = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(seen, HasSubstr("cannot write the log file " + options_.file));
  EXPECT_THAT(seen, HasSubstr("No such file or directory"));
  EXPECT_THAT(seen, HasSubstr("still heard"));
}

TEST_F(LogTest, WithoutAWriterLinesGoToStandardErrorAtOnce) {
  ::testing::internal::CaptureStderr();
  LogError("early");
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("[ERROR] early\n"));
}

TEST_F(LogTest, LinesOfManyThreadsAllArriveWhole) {
  constexpr int kThreads = 4;
  constexpr int kLines = 1000;
  StartLogging(options_);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([i] {
        for (int line = 0; line < kLines; ++line)
          AccessLogLines(fmt::format("thread {} line {} end\n", i, line));
      });
    }
  }
  StopLogging();
  const std::vector<std::string> lines = Lines(options_.access_file);
  EXPECT_EQ(lines.size(), static_cast<std::size_t>(kThreads * kLines));
  for (const std::string& line : lines) ASSERT_THAT(line, MatchesRegex("thread [0-9] line [0-9]+ end"));
}

// The log is a pipe that nobody reads for a while: the writer gets stuck, callers must not.
TEST_F(LogTest, AFullBufferDropsTheOldestLinesAndSaysHowMany) {
  ASSERT_EQ(mkfifo(options_.file.c_str(), 0600), 0);
  const int reader = ::open(options_.file.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  StartLogging(options_);
  constexpr int kLines = 20'000;
  for (int line = 0; line < kLines; ++line) LogInfo("line {} {}", line, std::string(100, '.'));

  std::string text;
  std::jthread stop([] { StopLogging(); });  // closes the pipe after the last line
  ASSERT_EQ(::fcntl(reader, F_SETFL, 0), 0);
  char bytes[65536];
  for (ssize_t got = 0; (got = ::read(reader, bytes, sizeof bytes)) > 0;) text.append(bytes, got);
  ::close(reader);

  std::size_t written = 0;
  for (std::size_t at = 0; (at = text.find("] line ", at)) != std::string::npos; ++at) ++written;
  std::smatch match;
  std::regex warning(R"(\[WARN \] (\d+) log lines were dropped)");
  ASSERT_TRUE(std::regex_search(text, match, warning));
  EXPECT_EQ(std::stoul(match[1]) + written, static_cast<std::size_t>(kLines));
  EXPECT_THAT(text, HasSubstr(fmt::format("line {} ", kLines - 1)));  // the newest is there
}

TEST_F(LogTest, TheFilesOfTorchServeAreMadeAtTheStart) {
  options_.folder = (folder_ / "logs/server").string();
  options_.metrics_folder = (folder_ / "logs/metrics").string();
  StartLogging(options_);
  for (const char* name : {"server/ts_log.log", "server/access_log.log", "server/model_log.log",
                           "metrics/ts_metrics.log", "metrics/model_metrics.log"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "logs" / name)) << name;
  }
}

TEST_F(LogTest, EachFileGetsItsLinesBesidesTheStandardOutput) {
  options_.folder = options_.metrics_folder = folder_.string();
  StartLogging(options_);
  LogWarning("careful");
  AccessLogLines("one\n");
  LogFileLines(LogFile::kModel, "model\n");
  LogFileLines(LogFile::kTsMetrics, "ts 1\nts 2\n");
  LogFileLines(LogFile::kModelMetrics, "");
  StopLogging();
  EXPECT_THAT(Lines(options_.file), ElementsAre(HasSubstr("careful")));
  // TorchServe's `%d{ISO8601} [%-5p] %t %c - %m`.
  EXPECT_THAT(
      Lines((folder_ / "ts_log.log").string()),
      ElementsAre(MatchesRegex(R"(....-..-..T..:..:..,... \[WARN \] thread-[0-9]+ flambeau - careful)")));
  EXPECT_THAT(Lines(options_.access_file), ElementsAre("one"));
  EXPECT_THAT(Lines((folder_ / "access_log.log").string()), ElementsAre("one"));
  EXPECT_THAT(Lines((folder_ / "model_log.log").string()), ElementsAre("model"));
  EXPECT_THAT(Lines((folder_ / "ts_metrics.log").string()), ElementsAre("ts 1", "ts 2"));
  EXPECT_THAT(Lines((folder_ / "model_metrics.log").string()), ElementsAre());
}

TEST_F(LogTest, AFileThatHasGrownIsRenamedAndOldOnesGo) {
  options_.folder = options_.metrics_folder = folder_.string();
  options_.rotate_bytes = 10;
  options_.rotated_kept = 2;
  for (const char* line : {"aaaaaaa\n", "bbbbbbb\n", "ccccccc\n", "ddddddd\n"}) {
    StartLogging(options_);  // so that each line is a write of its own
    LogFileLines(LogFile::kModel, line);
    StopLogging();
  }
  EXPECT_THAT(Lines((folder_ / "model_log.log").string()), ElementsAre("ddddddd"));
  EXPECT_THAT(Lines((folder_ / "model_log.log.1").string()), ElementsAre("ccccccc"));
  EXPECT_THAT(Lines((folder_ / "model_log.log.2").string()), ElementsAre("bbbbbbb"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "model_log.log.3"));
}

TEST_F(LogTest, AFullDiskLosesLinesAndCountsThem) {
  options_.access_file = "/dev/full";
  const std::uint64_t lost = LostLogLines();
  StartLogging(options_);
  AccessLogLines("one\ntwo\n");
  StopLogging();
  EXPECT_EQ(LostLogLines(), lost + 2);
  EXPECT_THAT(Lines(options_.file),
              ElementsAre(HasSubstr("log lines are lost, /dev/full takes no more: No space")));
}

TEST_F(LogTest, AFolderThatCannotBeMadeIsSaid) {
  std::ofstream(folder_ / "file") << "x";
  options_.folder = (folder_ / "file/logs").string();
  StartLogging(options_);
  StopLogging();
  EXPECT_THAT(Lines(options_.file), ::testing::Contains(HasSubstr("cannot write the log file")));
}

}  // namespace
}  // namespace serve
