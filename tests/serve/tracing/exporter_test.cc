#include "serve/tracing/exporter.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include <zlib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/tracing/otlp_json.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

RequestSpan Example() {
  RequestSpan span;
  span.context = *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  MakeSpanId(span.context.span_id);
  span.trace_state = "a=b";
  span.method = "POST";
  span.route = "/predictions/{model}";
  span.path = "/predictions/news";
  span.host = "[::1]:8080";
  span.request_id = "id-1";
  span.model = "news";
  span.version = "2.0";
  span.status = 200;
  const std::chrono::steady_clock::time_point start(std::chrono::seconds(5));
  span.start = start;
  span.end = start + milliseconds(10);
  span.steps = {{"queue", start + milliseconds(1), start + milliseconds(2)},
                {"batch", start + milliseconds(2), start + milliseconds(20)}};
  span.batch_requests = 3;
  span.batch_rows = 4;
  span.batches = 2;
  return span;
}

std::string Value(const nlohmann::json& span, const std::string& key) {
  for (const auto& attribute : span.value("attributes", nlohmann::json::array())) {
    if (attribute.at("key") == key) return attribute.at("value").begin().value();
  }
  return "";
}

TEST(OtlpJsonTest, ARequestIsAServerSpanWithItsStepsAsChildren) {
  const RequestSpan request = Example();
  const auto json = nlohmann::json::parse(OtlpJson(std::vector{request}, {{"service.name", "news"}}, "1.2.3",
                                                   std::chrono::seconds(1'000'000'000)));
  const auto& resource = json.at("resourceSpans").at(0);
  EXPECT_EQ(Value(resource.at("resource"), "service.name"), "news");
  const auto& scope = resource.at("scopeSpans").at(0);
  EXPECT_EQ(scope.at("scope").at("version"), "1.2.3");
  const auto& spans = scope.at("spans");
  ASSERT_EQ(spans.size(), 3u);
  const auto& server = spans[0];
  EXPECT_EQ(server.at("name"), "POST /predictions/{model}");
  EXPECT_EQ(server.at("kind"), 2);
  EXPECT_EQ(server.at("traceId"), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(server.at("spanId"), request.context.span());
  EXPECT_EQ(server.at("parentSpanId"), "00f067aa0ba902b7");
  EXPECT_EQ(server.at("traceState"), "a=b");
  EXPECT_EQ(server.at("startTimeUnixNano"), "1000000005000000000");
  EXPECT_EQ(server.at("endTimeUnixNano"), "1000000005010000000");
  EXPECT_EQ(Value(server, "http.response.status_code"), "200");
  EXPECT_EQ(Value(server, "server.address"), "[::1]");
  EXPECT_EQ(Value(server, "flambeau.version"), "2.0");
  EXPECT_FALSE(server.contains("status"));
  EXPECT_EQ(spans[1].at("name"), "queue");
  const auto& batch = spans[2];
  EXPECT_EQ(batch.at("kind"), 1);
  EXPECT_EQ(batch.at("traceId"), server.at("traceId"));
  EXPECT_EQ(batch.at("parentSpanId"), server.at("spanId"));
  EXPECT_NE(batch.at("spanId"), spans[1].at("spanId"));
  EXPECT_EQ(batch.at("endTimeUnixNano"), server.at("endTimeUnixNano")) << "a child ends within its parent";
  EXPECT_EQ(Value(batch, "flambeau.batch.requests"), "3");
  EXPECT_EQ(Value(batch, "flambeau.batches"), "2");
}

TEST(OtlpJsonTest, AServersErrorIsTheSpansAndAClientsIsNot) {
  RequestSpan request = Example();
  request.status = 400;
  const auto first = [&] {
    const auto json = nlohmann::json::parse(OtlpJson(std::vector{request}, {}, "1", {}));
    return json.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").at(0);
  };
  EXPECT_FALSE(first().contains("status"));
  request.status = 500;
  request.error = "broken \xFF";
  const auto failed = first();
  EXPECT_EQ(failed.at("status").at("code"), 2);
  EXPECT_EQ(failed.at("status").at("message"), "broken \xEF\xBF\xBD");
  EXPECT_EQ(Value(failed, "error.type"), "500");
}

TEST(ResourceTest, TheOperatorsNamesWin) {
  TraceExport options;
  const auto name = [](const KeyValues& attributes, const std::string& key) {
    for (const auto& [known, value] : attributes) {
      if (known == key) return value;
    }
    return std::string();
  };
  EXPECT_EQ(name(ResourceAttributes(options, {}, "1"), "service.name"), "flambeau");
  EXPECT_EQ(name(ResourceAttributes(options, {}, "1"), "cloud.provider"), "");
  const Instance cloud_run{"news", "news-0001", "news"};
  const KeyValues there = ResourceAttributes(options, cloud_run, "1");
  EXPECT_EQ(name(there, "service.name"), "news");
  EXPECT_EQ(name(there, "faas.version"), "news-0001");
  EXPECT_EQ(name(there, "cloud.platform"), "gcp_cloud_run");
  options.resource = {{"service.name", "of the list"}, {"team", "ml"}, {"host.name", "mine"}};
  const KeyValues given = ResourceAttributes(options, cloud_run, "1");
  EXPECT_EQ(name(given, "service.name"), "of the list");
  EXPECT_EQ(name(given, "host.name"), "mine");
  EXPECT_EQ(name(given, "team"), "ml");
  options.service_name = "of its own variable";
  EXPECT_EQ(name(ResourceAttributes(options, cloud_run, "1"), "service.name"), "of its own variable");
}

TEST(RetryPauseTest, IsWhatTheCollectorSaysElseDoubles) {
  EXPECT_EQ(RetryPause("0", 3), milliseconds(0));
  EXPECT_EQ(RetryPause("7", 0), milliseconds(7'000));
  EXPECT_EQ(RetryPause("100000", 0), milliseconds(30'000));
  EXPECT_EQ(RetryPause("", 0), milliseconds(1'000));
  EXPECT_EQ(RetryPause("", 3), milliseconds(8'000));
  EXPECT_EQ(RetryPause("Fri, 27 Nov 2026 03:00:00 GMT", 1), milliseconds(2'000));
  EXPECT_EQ(RetryPause("-1", 0), milliseconds(1'000));
}

/// Answers calls with the given answers, the last one for ever.
class Collector {
 public:
  explicit Collector(std::vector<Result<HttpAnswer>> answers) : answers_(std::move(answers)) {}
  SpanExporter::Call call() {
    return [this](const HttpCall& call) {
      const std::lock_guard lock(mutex_);
      calls_.push_back(call);
      const std::size_t i = std::min(calls_.size(), answers_.size()) - 1;
      return answers_[i];
    };
  }
  std::vector<HttpCall> calls() {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  std::mutex mutex_;
  const std::vector<Result<HttpAnswer>> answers_;
  std::vector<HttpCall> calls_;
};

HttpAnswer Answer(int status, std::string body = "{}") {
  return {.status = status, .headers = {{"Retry-After", "0"}}, .body = std::move(body)};
}

class ExporterTest : public testing::Test {
 protected:
  TraceExport Options() const {
    TraceExport options = options_;
    options.endpoint = "http://collector/v1/traces";
    options.headers = {{"api-key", "secret"}};
    options.interval = std::chrono::hours(1);  // the stop sends
    return options;
  }
  std::uint64_t Dropped(SpanDrop reason) {
    return metrics_.spans_dropped[static_cast<std::size_t>(reason)].Value();
  }
  /// One block of `count` requests through an exporter's whole life.
  void Run(Collector& collector, std::size_t count) {
    SpanExporter exporter(Options(), {}, "1", metrics_, collector.call());
    exporter.Take(std::vector<RequestSpan>(count, Example()));
    EXPECT_TRUE(exporter.Stop(std::chrono::seconds(60)));
  }
  TraceExport options_;
  Metrics metrics_{false};
};

TEST_F(ExporterTest, WhatWaitsIsSentAtTheStopInCallsOfALimitedSize) {
  Collector collector({Answer(200)});
  Run(collector, 600);
  ASSERT_EQ(collector.calls().size(), 2u);
  const HttpCall call = collector.calls()[0];
  EXPECT_EQ(call.method, "POST");
  EXPECT_EQ(call.url, "http://collector/v1/traces");
  EXPECT_THAT(call.headers, testing::Contains(testing::Pair("Content-Type", "application/json")));
  EXPECT_THAT(call.headers, testing::Contains(testing::Pair("api-key", "secret")));
  EXPECT_EQ(metrics_.spans_exported.Value(), 1800u);
}

/// What a gzip body of at most a megabyte holds.
std::string Unpacked(const std::string& packed) {
  std::string text(1'000'000, '\0');
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(text.data());
  stream.avail_out = static_cast<uInt>(text.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return text;
}

TEST_F(ExporterTest, BodiesArePackedWhereTheSettingSaysSo) {
  const auto coding = testing::Pair("Content-Encoding", testing::_);
  Collector plain({Answer(200)});
  Run(plain, 100);
  ASSERT_EQ(plain.calls().size(), 1u);
  EXPECT_THAT(plain.calls()[0].headers, Not(testing::Contains(coding)));

  Collector collector({Answer(503), Answer(200)});  // the second try sends the same
  options_.gzip = true;
  Run(collector, 100);
  ASSERT_EQ(collector.calls().size(), 2u);
  for (const HttpCall& call : collector.calls()) {
    EXPECT_THAT(call.headers, testing::Contains(testing::Pair("Content-Encoding", "gzip")).Times(1));
    EXPECT_LT(call.body.size() * 10, plain.calls()[0].body.size());
    const auto json = nlohmann::json::parse(Unpacked(call.body));
    EXPECT_EQ(json.at("resourceSpans").at(0).at("scopeSpans").at(0).at("spans").size(), 300u);
  }
}

TEST_F(ExporterTest, APassingFailureIsTriedAgain) {
  for (const int status : {429, 502, 503, 504}) {
    Collector collector({Answer(status), Answer(200)});
    SpanExporter exporter(Options(), {}, "1", metrics_, collector.call());
    exporter.Take(std::vector<RequestSpan>(512, Example()));  // a full block goes at once
    while (collector.calls().size() < 2) std::this_thread::yield();
    EXPECT_TRUE(exporter.Stop(std::chrono::seconds(60)));
    EXPECT_EQ(collector.calls().size(), 2u);
    EXPECT_EQ(collector.calls()[0].body.substr(0, 100), collector.calls()[1].body.substr(0, 100));
  }
  EXPECT_EQ(metrics_.spans_exported.Value(), 4u * 512 * 3);
}

TEST_F(ExporterTest, ARefusalIsNot) {
  for (const int status : {400, 401, 413, 500}) {
    Collector collector({Answer(status)});
    Run(collector, 1);
    EXPECT_EQ(collector.calls().size(), 1u) << status;
  }
  EXPECT_EQ(Dropped(SpanDrop::kRefused), 12u);
  EXPECT_EQ(metrics_.spans_exported.Value(), 0u);
}

TEST_F(ExporterTest, ACollectorThatIsAwayGetsAFewTries) {
  Collector collector({Answer(503)});
  {
    SpanExporter exporter(Options(), {}, "1", metrics_, collector.call());
    exporter.Take(std::vector<RequestSpan>(512, Example()));
    while (Dropped(SpanDrop::kUnreachable) == 0) std::this_thread::yield();
  }
  EXPECT_EQ(collector.calls().size(), 5u);
  EXPECT_EQ(Dropped(SpanDrop::kUnreachable), 512u * 3);
}

TEST_F(ExporterTest, AStopDoesNotWaitForAPauseBetweenTries) {
  Collector collector({Status{Code::kUnavailable, "connection refused"}});
  Run(collector, 1);  // without Retry-After the pause would be a second and more
  EXPECT_LE(collector.calls().size(), 2u);
  EXPECT_EQ(Dropped(SpanDrop::kUnreachable), 3u);
}

TEST_F(ExporterTest, WhatTheCollectorTookOnlyInPartIsCounted) {
  Collector collector({Answer(200, R"({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "old"}})")});
  Run(collector, 1);
  EXPECT_EQ(metrics_.spans_exported.Value(), 1u);
  EXPECT_EQ(Dropped(SpanDrop::kRefused), 2u);
}

TEST_F(ExporterTest, NobodyWaitsForACollectorThatDoesNotAnswer) {
  std::atomic<bool> called{false};
  std::atomic<bool> open{false};
  TraceExport options = Options();
  options.queue = 4;
  options.interval = milliseconds(1);
  SpanExporter exporter(options, {}, "1", metrics_, [&](const HttpCall&) -> Result<HttpAnswer> {
    called = true;
    called.notify_all();
    open.wait(false);
    return Answer(200);
  });
  exporter.Take({Example()});
  called.wait(false);
  exporter.Take(std::vector<RequestSpan>(6, Example()));
  EXPECT_EQ(Dropped(SpanDrop::kQueueFull), 6u) << "two of six had no room";
  EXPECT_FALSE(exporter.Stop(milliseconds(1))) << "the call still runs";
  EXPECT_EQ(Dropped(SpanDrop::kShutdown), 12u);
  open = true;
  open.notify_all();
}

}  // namespace
}  // namespace serve
