#include "trainer/data/dataset.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model_store/archive/sha256.h"
#include "tests/handlers/text/text_model.h"

namespace serve::trainer {
namespace {

using testing::HasSubstr;

const std::vector<std::string> kLabels = {"World", "Sports"};

TEST(DatasetTest, TitleAndDescriptionAreJoinedByABlank) {
  const Dataset dataset = ParseDataset("\"2\",\"Title\",\" text\"\n1,only text\n", kLabels);
  ASSERT_EQ(dataset.rows.size(), 2U);
  EXPECT_EQ(dataset.rows[0].label, 1);
  EXPECT_EQ(dataset.rows[0].text, "Title  text");
  EXPECT_EQ(dataset.rows[1].label, 0);
  EXPECT_EQ(dataset.rows[1].text, "only text");
  EXPECT_EQ(dataset.bad_row_count, 0U);
  EXPECT_EQ(dataset.header, "");
}

TEST(DatasetTest, TheClassMayBeALabel) {
  const Dataset dataset = ParseDataset("Sports,goal\n World ,vote\n", kLabels);
  ASSERT_EQ(dataset.rows.size(), 2U);
  EXPECT_EQ(dataset.rows[0].label, 1);
  EXPECT_EQ(dataset.rows[1].label, 0);
}

TEST(DatasetTest, AFirstLineWithoutAClassIsAHeader) {
  const Dataset dataset = ParseDataset("Class Index,Title,Description\n1,a,b\n", kLabels);
  EXPECT_EQ(dataset.header, "Class Index,Title,Description");
  EXPECT_EQ(dataset.rows.size(), 1U);
  EXPECT_EQ(dataset.bad_row_count, 0U);
}

TEST(DatasetTest, BadRowsAreReportedWithLineAndReasonAndLeftOut) {
  const Dataset dataset =
      ParseDataset("1,good\n3,text\n0,text\n1\n1,a,b,c\n1,...\n2,\"open\n2,good\n", kLabels);
  EXPECT_EQ(dataset.rows.size(), 2U);
  ASSERT_EQ(dataset.bad_row_count, 6U);
  EXPECT_EQ(dataset.bad_rows[0].line, 2U);
  EXPECT_EQ(dataset.bad_rows[0].reason,
            "the class \"3\" is neither a number from 1 to 2 nor one of World, Sports");
  EXPECT_THAT(dataset.bad_rows[1].reason, HasSubstr("the class \"0\""));
  EXPECT_EQ(dataset.bad_rows[2].reason, "expected class,title,description or class,text, found 1 field");
  EXPECT_EQ(dataset.bad_rows[3].reason, "expected class,title,description or class,text, found 4 fields");
  EXPECT_THAT(dataset.bad_rows[4].reason, HasSubstr("holds no word"));
  EXPECT_EQ(dataset.bad_rows[5].line, 7U);
  EXPECT_THAT(dataset.bad_rows[5].reason, HasSubstr("never closed"));
}

TEST(DatasetTest, OnlyTheFirstTenBadRowsAreKeptButAllAreCounted) {
  std::string text = "1,good\n";
  for (int i = 0; i < 25; ++i) text += "9,bad\n";
  const Dataset dataset = ParseDataset(text, kLabels);
  EXPECT_EQ(dataset.bad_rows.size(), kShownBadRows);
  EXPECT_EQ(dataset.bad_row_count, 25U);
}

TEST(DatasetTest, TooManyBadRowsAreRefusedWithTheNumbers) {
  Dataset dataset = ParseDataset("1,a\n2,b\n9,c\n1,d\n", kLabels);
  dataset.file = "d.csv";
  EXPECT_TRUE(CheckDataset(dataset, kLabels, 0.25, 1).ok());
  EXPECT_EQ(
      CheckDataset(dataset, kLabels, 0.2, 1).message,
      "d.csv: 1 of 4 rows cannot be used, allowed is a share of 0.2; correct them or raise --max-bad-rows");
}

TEST(DatasetTest, AClassWithoutRowsIsNamed) {
  Dataset dataset = ParseDataset("1,a\n1,b\n", kLabels);
  dataset.file = "d.csv";
  EXPECT_EQ(CheckDataset(dataset, kLabels, 0, 1).message,
            "d.csv: the class 2 (Sports) has 0 rows, needed are at least 1");
  EXPECT_THAT(CheckDataset(ParseDataset("", kLabels), kLabels, 0, 1).message, HasSubstr("holds no rows"));
}

TEST(DatasetTest, AFileIsReadWithItsNameAndDigest) {
  const TestFolder folder;
  const auto dataset = ReadDataset(folder.Write("d.csv", "1,a\n"), kLabels);
  ASSERT_TRUE(dataset) << dataset.error().message;
  EXPECT_EQ(dataset->file, "d.csv");
  EXPECT_EQ(dataset->sha256, Sha256OfBytes("1,a\n"));
  EXPECT_EQ(dataset->rows.size(), 1U);
  EXPECT_EQ(ReadDataset(folder.path() / "none.csv", kLabels).error().code, Code::kNotFound);
  EXPECT_THAT(ReadDataset(folder.path(), kLabels).error().message, HasSubstr("is a folder; name a file"));
  EXPECT_TRUE(ReadDataset(folder.Write("empty.csv", ""), kLabels)->rows.empty());
}

std::vector<LabelledText> Rows(int first_class, int second_class) {
  std::vector<LabelledText> rows;
  for (int i = 0; i < first_class; ++i) rows.push_back({0, "w" + std::to_string(i)});
  for (int i = 0; i < second_class; ++i) rows.push_back({1, "s" + std::to_string(i)});
  return rows;
}

std::vector<std::string> Texts(const std::vector<LabelledText>& rows) {
  std::vector<std::string> texts;
  for (const LabelledText& row : rows) texts.push_back(row.text);
  return texts;
}

TEST(SplitRowsTest, EachClassGivesItsShare) {
  const Split split = SplitRows(Rows(40, 20), 2, 0.1, 1);
  EXPECT_EQ(split.validation.size(), 6U);
  EXPECT_EQ(std::count_if(split.validation.begin(), split.validation.end(),
                          [](const auto& row) { return row.label == 0; }),
            4);
  std::vector<std::string> all = Texts(split.training);
  for (const std::string& text : Texts(split.validation)) all.push_back(text);
  EXPECT_THAT(all, testing::UnorderedElementsAreArray(Texts(Rows(40, 20))));
}

TEST(SplitRowsTest, TheSeedAloneDecides) {
  const auto chosen = [](std::uint64_t seed) {
    return Texts(SplitRows(Rows(50, 50), 2, 0.2, seed).validation);
  };
  EXPECT_EQ(chosen(1), chosen(1));
  EXPECT_NE(chosen(1), chosen(2));
}

TEST(SplitRowsTest, AClassOfTwoRowsGivesOne) {
  const Split split = SplitRows(Rows(2, 100), 2, 0.01, 1);
  EXPECT_EQ(split.validation.size(), 2U);
  EXPECT_EQ(split.validation[0].label, 0);
}

TEST(DatasetTest, AScanShowsTheRowsThatParsingKeeps) {
  const std::string content = "label,text\n1,oil\n9,no\n2,goal\n";
  std::vector<std::string> texts;
  const Dataset scanned = ScanDataset(content, {"Business", "Sports"},
                                      [&texts](const LabelledText& row) { texts.push_back(row.text); });
  EXPECT_EQ(texts, (std::vector<std::string>{"oil", "goal"}));
  EXPECT_EQ(scanned.classes, (std::vector<std::int32_t>{0, 1}));
  EXPECT_TRUE(scanned.rows.empty());
  EXPECT_EQ(scanned.bad_row_count, 1U);
  EXPECT_EQ(scanned.sha256, ParseDataset(content, {"Business", "Sports"}).sha256);
}

}  // namespace
}  // namespace serve::trainer
