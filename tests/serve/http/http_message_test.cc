#include "serve/http/http_message.h"

#include <set>
#include <string>

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

TEST(AccessLogTest, TheJsonLineIsValidJson) {
  const auto json = nlohmann::json::parse(AccessLine(Example(), LogFormat::kJson));
  EXPECT_EQ(json["remote"], "127.0.0.1:64003");
  EXPECT_EQ(json["method"], "POST");
  EXPECT_EQ(json["status"], 200);
  EXPECT_DOUBLE_EQ(json["duration_ms"], 118.4);
  EXPECT_EQ(json["bytes_in"], 5);
  EXPECT_EQ(json["bytes_out"], 7);
  EXPECT_EQ(json["request_id"], "id-1");
  EXPECT_EQ(json["model"], "resnet-18");
  EXPECT_FALSE(json.contains("model_version"));
}

TEST(AccessLogTest, ARequestThatCouldNotBeReadHasDashes) {
  AccessRecord record;
  record.remote = "/127.0.0.1:1";
  record.status = 400;
  EXPECT_THAT(AccessLine(record, LogFormat::kText), HasSubstr("\"- - HTTP/1.1\" 400 0"));
}

}  // namespace
}  // namespace serve
