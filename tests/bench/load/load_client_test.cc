#include "bench/load/load_client.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "bench/load/report.h"
#include "tests/bench/load/tiny_server.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

LoadOptions For(const TinyServer& server) {
  LoadOptions options;
  options.port = server.port();
  options.timeout = std::chrono::seconds(20);
  return options;
}

TEST(LoadClientTest, AClosedLoopEndsAfterTheRequestsAskedFor) {
  std::mutex mutex;
  std::multiset<std::string> bodies;
  TinyServer server([&](int, const std::string& body) {
    const std::lock_guard lock(mutex);
    bodies.insert(body);
    return kOk;
  });
  LoadOptions options = For(server);
  options.bodies = {"a", "b"};
  options.connections = 3;
  options.threads = 2;
  options.max_requests = 40;
  const LoadResult result = RunLoad(options).value();
  EXPECT_EQ(server.requests(), 40);
  EXPECT_THAT(result.statuses, ElementsAre(Pair(200, 40)));
  EXPECT_EQ(result.ok.count(), 40U);
  EXPECT_EQ(result.in_window, 40U);
  EXPECT_EQ(result.closed_errors + result.malformed + result.timeouts + result.connect_errors, 0U);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(bodies.count("a"), 20U);
  EXPECT_EQ(bodies.count("b"), 20U);
}

TEST(LoadClientTest, AClosedLoopEndsAfterItsDuration) {
  TinyServer server([](int, const std::string&) { return kOk; });
  LoadOptions options = For(server);
  options.warmup = milliseconds(50);
  options.duration = milliseconds(100);
  const LoadResult result = RunLoad(options).value();
  EXPECT_GE(result.in_window, 1U);
  EXPECT_LT(result.in_window, static_cast<std::uint64_t>(server.requests()));  // the warm-up is not counted
  EXPECT_EQ(result.window, options.duration);
}

// With one connection, a stall of 200 ms delays the 20 requests that are due meanwhile. A client that
// measures from sending would see one slow answer in 40.
TEST(LoadClientTest, AnOpenLoopChargesAStallToEveryRequestThatWasDueMeanwhile) {
  TinyServer server([](int n, const std::string&) {
    if (n == 0) std::this_thread::sleep_for(milliseconds(200));
    return kOk;
  });
  LoadOptions options = For(server);
  options.rate = 100;
  options.duration = milliseconds(400);
  const LoadResult result = RunLoad(options).value();
  EXPECT_EQ(server.requests() + static_cast<int>(result.unsent), 40);
  EXPECT_GE(result.ok.Percentile(0.75), 80'000'000);
  EXPECT_GE(result.ok.max(), 200'000'000);
}

TEST(LoadClientTest, AnOpenLoopSaysWhatItCouldNotSend) {
  TinyServer server([](int, const std::string&) {
    std::this_thread::sleep_for(milliseconds(300));
    return kOk;
  });
  LoadOptions options = For(server);
  options.rate = 1000;
  options.duration = milliseconds(100);
  const LoadResult result = RunLoad(options).value();
  EXPECT_EQ(result.unsent, 99U);
  EXPECT_EQ(result.in_window, 0U);   // it came after the end: no part of the rate,
  EXPECT_EQ(result.ok.count(), 1U);  // but of the latencies
}

TEST(LoadClientTest, RefusalsAreKeptApartWithTheirRetryAfter) {
  TinyServer server([](int n, const std::string&) -> std::string {
    if (n % 2 == 0) return kOk;
    return "HTTP/1.1 503 Busy\r\nRetry-After: " + std::to_string(n) + "\r\nContent-Length: 0\r\n\r\n";
  });
  LoadOptions options = For(server);
  options.max_requests = 6;
  const LoadResult result = RunLoad(options).value();
  EXPECT_THAT(result.statuses, ElementsAre(Pair(200, 3), Pair(503, 3)));
  EXPECT_EQ(result.ok.count(), 3U);
  EXPECT_EQ(result.refused.count(), 3U);
  EXPECT_EQ(result.ok_in_window, 3U);
  EXPECT_EQ(result.retry_after, 3U);
  EXPECT_EQ(result.retry_after_min, 1);
  EXPECT_EQ(result.retry_after_max, 5);
}

TEST(LoadClientTest, AServerThatClosesAfterEveryAnswerIsReconnected) {
  TinyServer server([](int, const std::string&) {
    return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end";  // no length: the close ends the body
  });
  LoadOptions options = For(server);
  options.max_requests = 5;
  const LoadResult result = RunLoad(options).value();
  EXPECT_THAT(result.statuses, ElementsAre(Pair(200, 5)));
  EXPECT_EQ(result.reconnects, 5U);
  EXPECT_EQ(result.closed_errors, 0U);
}

TEST(LoadClientTest, AConnectionThatBreaksIsCountedAndReplaced) {
  TinyServer server([](int n, const std::string&) { return n == 0 ? "" : kOk; });
  LoadOptions options = For(server);
  options.max_requests = 3;
  const LoadResult result = RunLoad(options).value();
  EXPECT_EQ(result.closed_errors, 1U);
  EXPECT_THAT(result.statuses, ElementsAre(Pair(200, 2)));
}

TEST(LoadClientTest, ASilentServerCostsTheTimeoutAndNoMore) {
  std::atomic<bool> release = false;
  TinyServer server([&](int, const std::string&) {
    release.wait(false);
    return "";
  });
  LoadOptions options = For(server);
  options.connections = 2;
  options.duration = milliseconds(50);
  options.timeout = milliseconds(100);
  const LoadResult result = RunLoad(options).value();
  EXPECT_EQ(result.timeouts, 2U);
  EXPECT_TRUE(result.statuses.empty());
  release = true;
  release.notify_all();
}

TEST(LoadClientTest, AServerThatIsNotThereIsNamed) {
  std::string port;
  {
    port = TinyServer([](int, const std::string&) { return kOk; }).port();
  }
  LoadOptions options;
  options.port = port;
  const Result<LoadResult> result = RunLoad(options);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUnavailable);
  EXPECT_THAT(result.error().message, HasSubstr("127.0.0.1:" + port));
}

TEST(LoadClientTest, ALargeBodyArrivesWhole) {
  std::mutex mutex;
  std::string seen;
  TinyServer server([&](int, const std::string& body) {
    const std::lock_guard lock(mutex);
    seen = body;
    return kOk;
  });
  LoadOptions options = For(server);
  options.bodies = {std::string(8'000'000, 'x') + "end"};
  options.max_requests = 1;
  const LoadResult result = RunLoad(options).value();
  EXPECT_THAT(result.statuses, ElementsAre(Pair(200, 1)));
  const std::lock_guard lock(mutex);
  EXPECT_EQ(seen, options.bodies[0]);
}

TEST(LoadClientTest, TheReportSaysTheSameInJsonAndForPeople) {
  TinyServer server([](int, const std::string&) { return kOk; });
  LoadOptions options = For(server);
  options.max_requests = 4;
  const LoadResult result = RunLoad(options).value();
  const nlohmann::json json = nlohmann::json::parse(ReportJson(options, result));
  EXPECT_EQ(json["loop"], "closed");
  EXPECT_EQ(json["statuses"]["200"], 4);
  EXPECT_EQ(json["latency_us"]["count"], 4);
  EXPECT_GT(json["latency_us"]["p50"], 0);
  EXPECT_GT(json["rate"], 0);
  EXPECT_THAT(ReportText(options, result), HasSubstr("200: 4"));
}

}  // namespace
}  // namespace serve
