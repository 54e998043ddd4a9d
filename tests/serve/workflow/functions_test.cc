#include "serve/workflow/functions.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::HasSubstr;

constexpr std::string_view kJson = "application/json";

TEST(FunctionsTest, MergeKeepsJsonDigitForDigitAndQuotesText) {
  const auto merged = MergeBodies(
      {{"a", "[0.10, 1e3]", kJson}, {"b", "say \"hi\"\n", "text/plain"}, {"c", "{\"x\":null}", ""}});
  ASSERT_TRUE(merged);
  EXPECT_EQ(merged->body, R"({"a":[0.10, 1e3],"b":"say \"hi\"\n","c":{"x":null}})");
  EXPECT_EQ(merged->content_type, kJson);
}

TEST(FunctionsTest, MergeRefusesWhatFitsIntoNoJson) {
  for (const std::string_view body : {"\x01\xff", "", "[1", "{\"a\": 1} 2"}) {
    const auto merged = MergeBodies({{"a", "1", kJson}, {"img", body, "application/octet-stream"}});
    ASSERT_FALSE(merged) << body;
    EXPECT_THAT(merged.error().message, HasSubstr("node img"));
  }
}

TEST(FunctionsTest, MergeSurvivesDeepNesting) {
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  EXPECT_TRUE(MergeBodies({{"a", deep, kJson}}));
  EXPECT_FALSE(MergeBodies({{"a", std::string(1'000'000, '['), kJson}}));
}

TEST(FunctionsTest, BestLabelIsTheLargestNumber) {
  const auto best = BestLabel({"m", R"({"cat": 0.2, "dog": 0.7, "cow": 0.1})", kJson});
  ASSERT_TRUE(best);
  EXPECT_EQ(best->body, "dog");
  EXPECT_EQ(best->content_type, "text/plain");
  EXPECT_EQ(BestLabel({"m", R"({"only": -3})", kJson})->body, "only");
}

TEST(FunctionsTest, BestLabelRefusesEverythingElse) {
  const std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  for (const std::string& body : {std::string("{}"), std::string("[1]"), std::string("\"x\""), std::string(),
                                  std::string("{\"a\": \"1\"}"), std::string("{\"a\": {\"b\": 1}}"), deep}) {
    const auto best = BestLabel({"m", body, kJson});
    ASSERT_FALSE(best) << body.substr(0, 50);
    EXPECT_THAT(best.error().message, HasSubstr("node m gave"));
  }
}

}  // namespace
}  // namespace serve
