#include "trainer/data/csv_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Fields = std::vector<std::string>;

std::vector<CsvRecord> ReadAll(std::string_view text) {
  CsvReader reader(text);
  std::vector<CsvRecord> records;
  for (CsvRecord record; reader.Next(record);) records.push_back(record);
  return records;
}

Fields OnlyRecord(std::string_view text) {
  const std::vector<CsvRecord> records = ReadAll(text);
  EXPECT_EQ(records.size(), 1U);
  if (records.empty()) return {};
  EXPECT_EQ(records[0].problem, "");
  return records[0].fields;
}

TEST(CsvReaderTest, QuotedFieldsHoldCommasQuotesAndLineEnds) {
  EXPECT_THAT(OnlyRecord("\"3\",\"a, \"\"b\"\"\",\"two\nlines\"\n"),
              ElementsAre("3", "a, \"b\"", "two\nlines"));
}

TEST(CsvReaderTest, PlainFieldsMayBeEmptyAndKeepTheirQuotes) {
  EXPECT_THAT(OnlyRecord("3,,say \"x\","), ElementsAre("3", "", "say \"x\"", ""));
}

TEST(CsvReaderTest, LineEndsMarkAndBlankLinesMakeNoDifference) {
  const auto records = ReadAll("\xef\xbb\xbf\"1\",a\r\n\r\n\n2,\"b\"\r\n3,c");
  ASSERT_EQ(records.size(), 3U);
  EXPECT_THAT(records[0].fields, ElementsAre("1", "a"));
  EXPECT_THAT(records[1].fields, ElementsAre("2", "b"));
  EXPECT_THAT(records[2].fields, ElementsAre("3", "c"));
  EXPECT_EQ(records[2].line, 5U);
}

TEST(CsvReaderTest, RecordsKnowTheLineTheyBeginOn) {
  const auto records = ReadAll("1,\"a\nb\nc\"\n2,d\n");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].line, 1U);
  EXPECT_EQ(records[1].line, 4U);
}

TEST(CsvReaderTest, NothingHoldsNoRecord) {
  EXPECT_TRUE(ReadAll("").empty());
  EXPECT_TRUE(ReadAll("\n\r\n").empty());
}

TEST(CsvReaderTest, AQuoteThatIsNeverClosedCostsOneRecord) {
  const auto records = ReadAll("1,a\n2,\"b\n3,c\n4,d\n");
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[1].line, 2U);
  EXPECT_EQ(records[1].problem, "a quoted field that begins on line 2 is never closed");
  EXPECT_THAT(records[2].fields, ElementsAre("3", "c"));
  EXPECT_EQ(records[3].line, 4U);
}

TEST(CsvReaderTest, AnUnclosedQuoteThatMeetsAnotherOneCostsOneRecord) {
  const auto records = ReadAll("\"1\",\"a\n\"2\",\"b\"\n\"3\",\"c\"\n");
  ASSERT_EQ(records.size(), 3U);
  EXPECT_THAT(records[0].problem, HasSubstr("text follows the closing quote of field 2"));
  EXPECT_THAT(records[1].fields, ElementsAre("2", "b"));
  EXPECT_THAT(records[2].fields, ElementsAre("3", "c"));
}

TEST(CsvReaderTest, TextBehindAClosingQuoteIsMalformed) {
  const auto records = ReadAll("1,\"a\"b,c\n2,d");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].problem,
            "text follows the closing quote of field 2; inside a field, write a quote twice");
  EXPECT_EQ(records[1].problem, "");
}

TEST(CsvReaderTest, AnEndlessFieldIsCutOff) {
  const auto records = ReadAll("1,\"" + std::string(CsvReader::kMaxFieldBytes + 1, 'x') + "\"\n2,b\n");
  ASSERT_EQ(records.size(), 2U);
  EXPECT_THAT(records[0].problem, HasSubstr("longer than 1048576 bytes"));
  EXPECT_THAT(records[1].fields, ElementsAre("2", "b"));
}

}  // namespace
}  // namespace serve::trainer
