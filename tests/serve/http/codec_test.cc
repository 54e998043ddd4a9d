#include "serve/http/codec.h"

#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/http/content_encoding.h"
#include "serve/http/url.h"
#include "tests/serve/http/parse_request.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<Request> Decode(std::string_view content_type, std::string_view body) {
  HttpRequest http = PostRequest(
      "/", content_type.empty() ? "" : "Content-Type: " + std::string(content_type) + "\r\n", body);
  return DecodeRequest(http, HttpLimits());
}

std::string ErrorOf(const Result<Request>& result) { return result ? "" : result.error().message; }

/// `name=value|type` of each part, so that a test reads as one line.
std::string Parts(const Result<Request>& result) {
  if (!result) return "error: " + result.error().message;
  std::string text;
  for (const RequestPart& part : result->parts) {
    if (!text.empty()) text += ' ';
    text += std::string(part.name) + "=" + std::string(part.value) + "|" + std::string(part.content_type);
  }
  return text;
}

constexpr std::string_view kForm = "application/x-www-form-urlencoded";

TEST(CodecTest, ARawBodyIsOnePartNamedBody) {
  EXPECT_EQ(Parts(Decode("application/json; charset=utf-8", "[1]")), "body=[1]|application/json");
  EXPECT_EQ(Parts(Decode("Application/JSON", "[1]")), "body=[1]|application/json");
  EXPECT_EQ(Parts(Decode("", "x")), "body=x|");
  EXPECT_EQ(Parts(Decode("application/octet-stream", "")), "body=|application/octet-stream");
  EXPECT_TRUE(Decode("text/plain", "x")->body_is_part);
}

TEST(CodecTest, TypesOutliveTheMoveOfTheRequest) {
  HttpRequest http = PostRequest("/", "Content-Type: Text/X\r\nAccept: a/b\r\n", "x");
  auto decoded = DecodeRequest(http, HttpLimits());
  http = HttpRequest();  // a view into the wire's bytes would now dangle
  const Request moved = std::move(*decoded);
  *decoded = Request();
  EXPECT_EQ(moved.parts[0].content_type, "text/x");
  EXPECT_EQ(moved.accept, "a/b");
}

TEST(CodecTest, AnEmptyBodyStillHasReadablePadding) {
  const auto request = Decode("", "");
  ASSERT_NE(request->body.data(), nullptr);
  EXPECT_EQ(request->Input()->value, "");
}

TEST(CodecTest, FormFieldsAreDecodedInPlace) {
  EXPECT_EQ(Parts(Decode(kForm, "data=a%20b+c&k%65y=%3D&empty=")), "data=a b c| key==| empty=|");
  EXPECT_EQ(Parts(Decode(kForm, "a=1&b&a=2&")), "a=2|");  // the last of a name; a piece without = is dropped
}

TEST(CodecTest, JsonUnderCurlsDefaultTypeIsJson) {
  EXPECT_EQ(Parts(Decode(kForm, "  {\"a\": \"x=y&z%\"}")), "body=  {\"a\": \"x=y&z%\"}|application/json");
  EXPECT_EQ(Parts(Decode(kForm, "[1, 2]")), "body=[1, 2]|application/json");
}

TEST(CodecTest, TextUnderCurlsDefaultTypeIsText) {
  EXPECT_EQ(Parts(Decode(kForm, "100% of it & more")), "body=100% of it & more|");
  EXPECT_EQ(Parts(Decode(kForm, "")), "body=|");
}

TEST(CodecTest, ABrokenEscapeInAFormIsNamed) {
  EXPECT_THAT(ErrorOf(Decode(kForm, "a=1&b=50%")), HasSubstr("field 2 of the form has a broken escape"));
}

TEST(CodecTest, AFormHasALimitOfFields) {
  std::string form;
  for (int i = 0; i < 1025; ++i) form += "a=&";
  EXPECT_THAT(ErrorOf(Decode(kForm, form)), HasSubstr("more than 1024 fields"));
}

TEST(CodecTest, AnUnknownContentEncodingIsRefused) {
  HttpRequest brotli = PostRequest("/", "Content-Encoding: br\r\n", "x");
  const auto refused = DecodeRequest(brotli, HttpLimits());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnsupportedMedia);
  HttpRequest identity = PostRequest("/", "Content-Encoding: Identity\r\n", "x");
  EXPECT_TRUE(DecodeRequest(identity, HttpLimits()));
}

TEST(CodecTest, APackedFormIsUnpackedBeforeItIsTakenApart) {
  HttpRequest http = PostRequest(
      "/", "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n", Gzip("a=1&b=2"));
  const auto request = DecodeRequest(http, HttpLimits());
  ASSERT_TRUE(request);
  ASSERT_EQ(request->parts.size(), 2u);
  EXPECT_EQ(request->parts[1].value, "2");
}

TEST(CodecTest, QueryValuesBecomePartsThatOutliveTheRequestOfTheWire) {
  HttpRequest http = PostRequest("/?a=1&data=%5B1%5D&a=2", "", "body");
  Result<Request> decoded = DecodeRequest(http, HttpLimits());
  ASSERT_TRUE(decoded);
  ASSERT_TRUE(AddQueryParts(http, HttpLimits(), *decoded).ok());
  const Request request = std::move(*decoded);
  http.Clear();
  ASSERT_EQ(request.parts.size(), 3u);  // body, a, data
  EXPECT_EQ(request.parts[0].value, "body");
  EXPECT_EQ(request.parts[1].name, "a");
  EXPECT_EQ(request.parts[1].value, "2");
  EXPECT_EQ(request.Input()->value, "[1]");
  EXPECT_FALSE(request.body_is_part);
}

constexpr std::string_view kMultipart = "multipart/form-data; boundary=XX";

TEST(MultipartTest, PartsKeepTheirNamesTypesAndBytes) {
  const std::string binary("\0\r\n--X\r\n-", 10);
  const std::string body =
      "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a;b.txt\"\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n\r\n" +
      binary +
      "\r\n--XX\t \r\ncontent-disposition:form-data; name=plain\r\n\r\n\r\n--XX\r\n"
      "Content-Disposition: form-data; filename*=UTF-8''x; name=\"file\"\r\n\r\nz\r\n--XX--\r\nepilogue";
  EXPECT_EQ(Parts(Decode(kMultipart, body)),
            "data=" + binary + "|text/plain plain=| file=z|application/octet-stream");
}

TEST(MultipartTest, ARepeatedNameKeepsTheLastValue) {
  const std::string part = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";
  EXPECT_EQ(Parts(Decode(kMultipart, part + "1\r\n" + part + "2\r\n--XX--")), "a=2|");
}

TEST(MultipartTest, ABoundaryMayBeQuoted) {
  EXPECT_EQ(Parts(Decode("multipart/form-data; charset=x; boundary=\"X:X\"",
                         "--X:X\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--X:X--\r\n")),
            "a=1|");
}

TEST(MultipartTest, WhatIsMalformedIsSaid) {
  const std::string part = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1";
  const auto error = [](std::string_view type, std::string_view body) { return ErrorOf(Decode(type, body)); };
  EXPECT_THAT(error("multipart/form-data", part), HasSubstr("needs a boundary"));
  EXPECT_THAT(error("multipart/form-data; boundary=\"XX", part), HasSubstr("needs a boundary"));
  EXPECT_THAT(error(kMultipart, "nothing"), HasSubstr("does not contain the boundary"));
  EXPECT_THAT(error(kMultipart, ""), HasSubstr("does not contain the boundary"));
  EXPECT_THAT(error(kMultipart, part), HasSubstr("part 1 of the form (`a`) ends before its boundary"));
  EXPECT_THAT(error(kMultipart, part + "\r\n--XX"), HasSubstr("before its closing boundary"));
  EXPECT_THAT(error(kMultipart, part + "\r\n--XX\r\nno colon\r\n\r\n\r\n--XX--"),
              HasSubstr("part 2 of the form has a header line without a colon"));
  EXPECT_THAT(error(kMultipart, "--XX\r\n\r\n1\r\n--XX--"), HasSubstr("has no Content-Disposition"));
  EXPECT_THAT(error(kMultipart, "--XX\r\nContent-Disposition: form-data\r\n\r\n1\r\n--XX--"),
              HasSubstr("without a name"));
  EXPECT_THAT(error(kMultipart, "--XX\r\nX: " + std::string(5000, 'x') + "\r\n\r\n1\r\n--XX--"),
              HasSubstr("more than 4096 bytes"));
  std::string many;
  for (int i = 0; i < 1025; ++i) many += part + "\r\n";
  EXPECT_THAT(error(kMultipart, many + "--XX--"), HasSubstr("more than 1024 parts"));
}

TEST(JsonObjectTest, MayBePacked) {
  nlohmann::json object;
  const auto decode = [&](const std::string& body) {
    return DecodeJsonObject(
        PostRequest("/", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", body), object);
  };
  EXPECT_TRUE(decode(Gzip(R"({"url": "a.mar"})")).ok());
  EXPECT_EQ(object["url"], "a.mar");
  EXPECT_FALSE(decode(R"({"url": "a.mar"})").ok());
  EXPECT_THAT(decode(Gzip(std::string(2'000'000, ' ') + "{}")).message, HasSubstr("1048576"));
}

TEST(JsonObjectTest, IsLimitedInDepthBeforeItIsParsed) {
  nlohmann::json object;
  const auto decode = [&](const std::string& body) {
    return DecodeJsonObject(PostRequest("/", "Content-Type: application/json; x=y\r\n", body), object);
  };
  EXPECT_TRUE(decode(R"({"url": "a.mar", "n": [1, {"[[[": "\"{"}]})").ok());
  EXPECT_EQ(object["url"], "a.mar");
  EXPECT_THAT(decode(std::string(1'000'000, '[')).message, HasSubstr("deeper than 64"));
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_THAT(decode(deep).message, HasSubstr("deeper than 64"));
  EXPECT_FALSE(decode("{").ok());
  EXPECT_FALSE(decode("[1]").ok());
  EXPECT_TRUE(decode("").ok());
  EXPECT_TRUE(object.is_null());
}

TEST(QueryTest, ParametersAreDecodedAndMayRepeat) {
  const auto query = QueryParameters::Parse("a=1&name%5B%5D=x+y&name[]=z&b&=c&&a=2");
  ASSERT_TRUE(query);
  EXPECT_EQ(*query->Find("a"), "2");
  EXPECT_THAT(query->All("name[]"), ElementsAre("x y", "z"));
  EXPECT_EQ(*query->Find("b"), "");
  EXPECT_EQ(query->Find("c"), nullptr);
  const auto broken = QueryParameters::Parse("ok=1&bad=%4");
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message, HasSubstr("`bad`"));
}

}  // namespace
}  // namespace serve
