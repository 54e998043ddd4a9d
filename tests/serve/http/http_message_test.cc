#include "serve/http/http_message.h"

#include <set>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "serve/base/random_id.h"
#include "serve/http/access_log.h"
#include "tests/serve/http/parse_request.h"

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST(HttpMessageTest, JsonStringsAreAlwaysValidJson) {
  EXPECT_EQ(Quoted("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  EXPECT_EQ(Quoted("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"), "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\"");
  // Cut off, overlong, surrogate, beyond the last character, lone continuation.
  for (const std::string bad : {"\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xE2\x82"}) {
    const std::string quoted = Quoted("x" + bad + "y");
    EXPECT_THAT(quoted, HasSubstr("\xEF\xBF\xBD"));
    EXPECT_NO_THROW(nlohmann::json::parse(quoted)) << quoted;
  }
}

TEST(HttpMessageTest, RequestIdsDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 10'000; ++i) {
    std::string id;
    AppendRandomId(id);
    ASSERT_TRUE(IsSaneRequestId(id));
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 10'000u);
}

TEST(HttpMessageTest, AnIdThatCouldHarmAHeaderOrALogIsNotEchoed) {
  EXPECT_TRUE(IsSaneRequestId("ed1ab344-1a0c:x/y=="));
  EXPECT_FALSE(IsSaneRequestId(""));
  EXPECT_FALSE(IsSaneRequestId("a b"));
  EXPECT_FALSE(IsSaneRequestId("a\"b"));
  EXPECT_FALSE(IsSaneRequestId("\xC3\xBC"));
  EXPECT_FALSE(IsSaneRequestId(std::string(129, 'x')));
}

TEST(HttpMessageTest, ACopyOutlivesTheOriginal) {
  HttpRequest request = PostRequest("/models?a=b", "X-A: value\r\n", "body");
  const HttpRequest copy = request.TakeCopy();
  request.head.assign(request.head.size(), '?');
  EXPECT_EQ(copy.method_text, "POST");
  EXPECT_EQ(copy.target, "/models?a=b");
  EXPECT_EQ(copy.path, "/models");
  EXPECT_EQ(copy.query, "a=b");
  EXPECT_EQ(copy.Header("x-a"), "value");
  EXPECT_EQ(copy.body.view(), "body");
}

AccessRecord Example() {
  AccessRecord record;
  record.remote = "/127.0.0.1:64003";
  record.method = "POST";
  record.target = "/predictions/resnet-18?x=\"\n\xFF";
  record.status = 200;
  record.duration = std::chrono::microseconds(118'400);
  record.bytes_in = 5;
  record.bytes_out = 7;
  record.request_id = "id-1";
  record.model = "resnet-18";
  return record;
}

TEST(AccessLogTest, TheTextLineIsTorchServesWithWhatTheClientChoseEscaped) {
  const std::string line = AccessLine(Example(), LogFormat::kText);
  ASSERT_GT(line.size(), 26u);
  EXPECT_THAT(line.substr(0, 23),
              MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}"));
  EXPECT_EQ(line.substr(23),
            " - /127.0.0.1:64003 \"POST /predictions/resnet-18?x=\\x22\\x0a\\xff HTTP/1.1\" 200 118");
}

TEST(AccessLogTest, EveryByteIsEscapedWhereverItStandsOrNotAtAll) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool plain = byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
    const std::string expected = plain ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
    for (std::size_t place = 0; place < 20; ++place) {
      AccessRecord record = Example();
      std::string target(20, '~');
      target[place] = c;
      record.target = target;
      const std::string wanted = std::string(place, '~') + expected + std::string(19 - place, '~');
      ASSERT_THAT(AccessLine(record, LogFormat::kText), HasSubstr("POST " + wanted + " HTTP/1.1"))
          << byte << " at " << place;
    }
  }
}

TEST(AccessLogTest, TheJsonLineIsValidJson) {
  const auto json = nlohmann::json::parse(AccessLine(Example(), LogFormat::kJson));
  EXPECT_EQ(json["severity"], "INFO");
  EXPECT_EQ(json["message"], "POST /predictions/resnet-18?x=\"\n\xEF\xBF\xBD 200");
  const nlohmann::json http = {
      {"requestMethod", "POST"}, {"requestUrl", "/predictions/resnet-18?x=\"\n\xEF\xBF\xBD"},
      {"status", 200},           {"requestSize", "5"},
      {"responseSize", "7"},     {"userAgent", ""},
      {"remoteIp", "127.0.0.1"}, {"latency", "0.118400s"},
      {"protocol", "HTTP/1.1"}};
  EXPECT_EQ(json["httpRequest"], http);
  EXPECT_EQ(json["request_id"], "id-1");
  const nlohmann::json labels = {{"model", "resnet-18"}};
  EXPECT_EQ(json["logging.googleapis.com/labels"], labels);
  EXPECT_FALSE(json.contains("trace_id"));
}

TEST(AccessLogTest, TheJsonLineNamesTheTraceTheClientAndHowBadItIs) {
  AccessRecord record = Example();
  TraceContext trace = *ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  MakeSpanId(trace.span_id);
  record.trace = &trace;
  record.client = "1.2.3.4";
  record.remote = "/[::1]:64003";
  record.user_agent = std::string_view("curl/7");
  record.status = 500;
  auto json = nlohmann::json::parse(AccessLine(record, LogFormat::kJson));
  EXPECT_EQ(json["severity"], "ERROR");
  EXPECT_EQ(json["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736") << "without a project";
  EXPECT_EQ(json["logging.googleapis.com/spanId"], "00f067aa0ba902b7") << "ours is exported nowhere";
  EXPECT_EQ(json["logging.googleapis.com/trace_sampled"], true);
  EXPECT_EQ(json["httpRequest"]["remoteIp"], "1.2.3.4");
  EXPECT_EQ(json["httpRequest"]["userAgent"], "curl/7");
  trace.recorded = true;
  record.client = {};
  record.status = 503;
  json = nlohmann::json::parse(AccessLine(record, LogFormat::kJson));
  EXPECT_EQ(json["severity"], "WARNING") << "full or not ready is no failure";
  EXPECT_EQ(json["logging.googleapis.com/spanId"], trace.span());
  EXPECT_EQ(json["httpRequest"]["remoteIp"], "::1");
}

TEST(AccessLogTest, AJsonLineStaysShortEnoughForCollectors) {
  AccessRecord record = Example();
  const std::string nasty(1 << 20, '\1');
  record.method = record.target = record.user_agent = record.client = record.model = nasty;
  const std::string line = AccessLine(record, LogFormat::kJson);
  EXPECT_LT(line.size(), 256u * 1024);
  EXPECT_TRUE(nlohmann::json::parse(line).is_object());
}

TEST(AccessLogTest, TheClientIsWhoTheOutermostTrustedProxyHasSeen) {
  HttpRequest request;
  request.fields = {{"x-forwarded-for", "6.6.6.6, 1.1.1.1"}, {"X-Forwarded-For", "2.2.2.2 ,3.3.3.3"}};
  EXPECT_EQ(ForwardedClient(request, 0), "");
  EXPECT_EQ(ForwardedClient(request, 1), "3.3.3.3");
  EXPECT_EQ(ForwardedClient(request, 2), "2.2.2.2");
  EXPECT_EQ(ForwardedClient(request, 3), "1.1.1.1");
  EXPECT_EQ(ForwardedClient(request, 4), "6.6.6.6");
  EXPECT_EQ(ForwardedClient(request, 5), "");
  request.fields.clear();
  EXPECT_EQ(ForwardedClient(request, 1), "");
}

TEST(AccessLogTest, ARequestThatCouldNotBeReadHasDashes) {
  AccessRecord record;
  record.remote = "/127.0.0.1:1";
  record.status = 400;
  EXPECT_THAT(AccessLine(record, LogFormat::kText), HasSubstr("\"- - HTTP/1.1\" 400 0"));
}

}  // namespace
}  // namespace serve
