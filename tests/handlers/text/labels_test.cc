#include "handlers/text/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

using testing::ElementsAre;

class LabelsTest : public testing::Test {
 protected:
  Result<std::vector<std::string>> Read(std::string_view content) {
    return ReadLabels(folder_.Write("index_to_name.json", content));
  }
  std::string ErrorOf(std::string_view content) {
    const auto labels = Read(content);
    return labels ? "none" : labels.error().message;
  }
  const TestFolder folder_;
};

TEST_F(LabelsTest, NumbersListsAndObjectTypeNamesAreRead) {
  EXPECT_THAT(Read(R"({"1": "b", "0": "a"})").value(), ElementsAre("a", "b"));
  EXPECT_THAT(Read(R"({"0": ["n01", "a"], "1": ["b"]})").value(), ElementsAre("a", "b"));
  EXPECT_THAT(Read(R"({"object_type_names": ["x", "y"]})").value(), ElementsAre("x", "y"));
}

TEST_F(LabelsTest, WhatIsNoListOfLabelsIsRefusedByKey) {
  EXPECT_EQ(ErrorOf(R"({"0": "a", "2": "b"})"),
            "index_to_name.json: the keys must be the numbers from 0 to 1, found \"2\"");
  EXPECT_EQ(ErrorOf(R"({"0": "a", "x": "b"})"),
            "index_to_name.json: the keys must be the numbers from 0 to 1, found \"x\"");
  EXPECT_EQ(ErrorOf(R"({"0": "a", "0": "b"})"), "index_to_name.json: the key \"0\" comes twice");
  EXPECT_EQ(ErrorOf(R"({"0": "a", "1": 7})"),
            "index_to_name.json: \"1\": expected a label, or a list that ends with it");
  EXPECT_EQ(ErrorOf(R"({"0": "a", "1": []})"),
            "index_to_name.json: \"1\": expected a label, or a list that ends with it");
  EXPECT_EQ(ErrorOf(R"({"0": "a", "1": "a"})"), "index_to_name.json: the label \"a\" comes twice");
  EXPECT_EQ(ErrorOf(R"({"0": "a"})"), "index_to_name.json: a classifier has 2 to 100000 labels, found 1");
  EXPECT_EQ(ErrorOf("[]"), "index_to_name.json: expected {\"0\": \"label\", ...}");
  EXPECT_THAT(ErrorOf("{"), testing::StartsWith("index_to_name.json: invalid JSON: "));
  EXPECT_THAT(ErrorOf(""), testing::StartsWith("index_to_name.json: invalid JSON: "));
}

TEST(QuoteAsciiTest, EscapesAsPythonDoes) {
  EXPECT_EQ(QuoteAscii("Sci/Tech"), "\"Sci/Tech\"");
  EXPECT_EQ(QuoteAscii("a\"b\\c\n\t\x01\x7f"), "\"a\\\"b\\\\c\\n\\t\\u0001\x7f\"");
  EXPECT_EQ(QuoteAscii("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\\u00e9\\u20ac\\ud83d\\ude00\"");
}

}  // namespace
}  // namespace serve
