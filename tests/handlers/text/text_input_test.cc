#include "handlers/text/text_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using testing::ElementsAre;

/// Keeps the request, which the texts point into.
struct Read {
  explicit Read(Request sent, const TextLimits& limits = {}) : request(std::move(sent)) {
    auto result = ReadTexts(request, limits);
    if (result) {
      texts.assign(result->texts.begin(), result->texts.end());
      hint = result->hint;
    } else {
      EXPECT_EQ(result.error().code, Code::kInvalidArgument);
      error = result.error().message;
    }
  }
  Request request;
  std::vector<std::string> texts;
  RenderHint hint;
  std::string error;
};

TEST(TextInputTest, ARawBodyOfAnyTextTypeIsTheText) {
  for (const std::string_view type : {"text/plain", "text/html", "application/octet-stream", ""}) {
    const Read read(RawRequest("Oil prices rise", type));
    EXPECT_THAT(read.texts, ElementsAre("Oil prices rise")) << type << read.error;
    EXPECT_TRUE(read.hint.single_row);
    EXPECT_FALSE(read.hint.instances);
  }
}

TEST(TextInputTest, JsonObjectsAndStringsAreOneText) {
  for (const std::string_view body :
       {R"({"text": "oil"})", R"({"data": "oil"})", R"({"id": 7, "text": "oil"})", R"("oil")",
        "\xef\xbb\xbf {\"text\": \"oil\"} "}) {
    const Read read(RawRequest(body));
    EXPECT_THAT(read.texts, ElementsAre("oil")) << body << read.error;
    EXPECT_TRUE(read.hint.single_row) << body;
  }
}

TEST(TextInputTest, EscapesInJsonAreResolved) {
  EXPECT_THAT(Read(RawRequest(R"({"text": "a\n\u00e9\"b"})")).texts, ElementsAre("a\n\xc3\xa9\"b"));
}

TEST(TextInputTest, WithoutATypeABodyThatBeginsLikeJsonIsJson) {
  EXPECT_THAT(Read(RawRequest(R"( {"text": "oil"})", "")).texts, ElementsAre("oil"));
  EXPECT_THAT(Read(RawRequest(R"("oil")", "")).texts, ElementsAre("oil"));
  EXPECT_EQ(Read(RawRequest(R"(["a", "b"])", "")).texts.size(), 2U);
  EXPECT_THAT(Read(RawRequest(R"("Never," he said)", "")).error,
              testing::EndsWith("(plain text that begins like JSON needs Content-Type: text/plain)"));
  EXPECT_THAT(Read(RawRequest(R"("Never," he said)", "text/plain")).texts,
              ElementsAre(R"("Never," he said)"));
}

TEST(TextInputTest, AFormFieldIsTextUnlessItsTypeSaysJson) {
  EXPECT_THAT(Read(FormRequest(R"({"text": "oil"})", "")).texts, ElementsAre(R"({"text": "oil"})"));
  EXPECT_THAT(Read(FormRequest(R"({"text": "oil"})", "application/json")).texts, ElementsAre("oil"));
}

TEST(TextInputTest, SeveralTextsKeepTheirOrderAndForm) {
  const Read list(RawRequest(R"(["a", {"text": "b"}])"));
  EXPECT_THAT(list.texts, ElementsAre("a", "b"));
  EXPECT_FALSE(list.hint.single_row);
  EXPECT_FALSE(list.hint.instances);
  const Read instances(RawRequest(R"({"instances": [{"data": "a"}, "b"]})"));
  EXPECT_THAT(instances.texts, ElementsAre("a", "b"));
  EXPECT_FALSE(instances.hint.single_row);
  EXPECT_TRUE(instances.hint.instances);
}

TEST(TextInputTest, ErrorsNameThePlaceAndWhatWasFound) {
  const auto error = [](std::string_view body) { return Read(RawRequest(body)).error; };
  EXPECT_EQ(error("7"), R"(body: expected a text or {"text": "..."}, found a number)");
  EXPECT_EQ(error(R"({"text": 7})"), "body.text: expected a text, found a number");
  EXPECT_EQ(error(R"({"txt": "a", "id": 1})"),
            R"(body: expected an object with the key "text" or "data", found the keys "txt", "id")");
  EXPECT_EQ(error("{}"), R"(body: expected an object with the key "text" or "data", found an empty object)");
  EXPECT_EQ(error(R"({"instances": "a"})"), "instances: expected an array of texts, found a string");
  EXPECT_EQ(error(R"({"instances": []})"), "instances: expected at least one text, found an empty array");
  EXPECT_EQ(error(R"({"instances": ["a", "b", null]})"),
            R"(instances[2]: expected a text or {"text": "..."}, found null)");
  EXPECT_EQ(error(R"({"instances": ["a", {"data": []}]})"),
            "instances[1].data: expected a text, found an array");
  EXPECT_EQ(error(R"(["a", "  "])"), "body[1]: the text is empty; send the text to classify");
  EXPECT_THAT(error(R"({"text": "a")"), testing::StartsWith("invalid JSON: "));
  EXPECT_THAT(error("{\"text\": \"\xff\"}"), testing::StartsWith("invalid JSON: "));
}

TEST(TextInputTest, EmptyTextAndNoTextAreSaidSo) {
  EXPECT_EQ(Read(RawRequest("", "text/plain")).error,
            R"(the body is empty; send the text to classify or {"text": "..."})");
  EXPECT_EQ(Read(RawRequest(" \n", "text/plain")).error,
            "body: the text is empty; send the text to classify");
  EXPECT_THAT(Read(Request{}).error, testing::StartsWith("the request brings no text: "));
  EXPECT_EQ(Read(RawRequest("\x89PNG", "image/png")).error,
            "image/png holds no text; send text/plain or application/json");
}

TEST(TextInputTest, LimitsAreNamedWithWhatWasSeen) {
  const TextLimits limits{4, 2};
  EXPECT_THAT(Read(RawRequest("four", "text/plain"), limits).texts, ElementsAre("four"));
  EXPECT_EQ(Read(RawRequest("fives", "text/plain"), limits).error,
            "body: the text has 5 bytes, allowed are 4");
  EXPECT_EQ(Read(RawRequest(R"(["a", "b", "c"])"), limits).error,
            "body: 3 texts, allowed are 2 in one request");
  EXPECT_EQ(Read(RawRequest(R"({"instances": ["a", "fives"]})"), limits).error,
            "instances[1]: the text has 5 bytes, allowed are 4");
}

TEST(TextInputTest, DeepNestingIsRefused) {
  EXPECT_THAT(Read(RawRequest(std::string(100'000, '['))).error, testing::StartsWith("invalid JSON: "));
}

}  // namespace
}  // namespace serve
