#include "handlers/text/vocabulary.h"

#include <cmath>

#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

std::string ErrorOf(std::string_view content) {
  const auto vocabulary = Vocabulary::Parse(content, "v.tsv");
  if (vocabulary) return "none";
  EXPECT_EQ(vocabulary.error().code, Code::kInvalidArgument);
  return vocabulary.error().message;
}

TEST(VocabularyTest, IdsAreRanksAndUnknownTermsHaveNone) {
  const auto vocabulary = Vocabulary::Parse(kSmallVocabulary, "v.tsv");
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->documents(), 10);
  EXPECT_EQ(vocabulary->IdOf("bank"), 0);
  EXPECT_EQ(vocabulary->IdOf("vote"), 3);
  EXPECT_EQ(vocabulary->IdOf("ban"), std::nullopt);
  EXPECT_EQ(vocabulary->Idf(1), 1.5);
}

TEST(VocabularyTest, LookupSurvivesAMove) {
  auto vocabulary = Vocabulary::Parse(kSmallVocabulary, "v.tsv");
  ASSERT_TRUE(vocabulary);
  const Vocabulary moved = *std::move(vocabulary);
  EXPECT_EQ(moved.IdOf("team"), 2);
}

TEST(VocabularyTest, WhatIsWrittenReadsBackToTheLastBit) {
  const double idf = std::log(4801.0 / 152.0) + 1;
  auto made = Vocabulary::Make({{"a", 1.0 / 3}, {"oil", idf}}, 4800);
  ASSERT_TRUE(made);
  const auto read = Vocabulary::Parse(made->FileText(), "v.tsv");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->documents(), 4800);
  EXPECT_EQ(read->Idf(0), 1.0 / 3);
  EXPECT_EQ(read->Idf(1), idf);
}

TEST(VocabularyTest, ErrorsNameFileLineAndReason) {
  EXPECT_EQ(ErrorOf(""), "v.tsv: the file is empty");
  EXPECT_EQ(ErrorOf("bank\t2\n"),
            "v.tsv:1: expected `flambeau-vocabulary<tab>1<tab>number of documents`, found `bank?2`");
  EXPECT_EQ(ErrorOf("flambeau-vocabulary\t2\t10\na\t1\n"),
            "v.tsv:1: format 2 is not known, this program reads format 1");
  EXPECT_EQ(ErrorOf("flambeau-vocabulary\t1\tmany\na\t1\n"),
            "v.tsv:1: expected the number of documents, found `many`");
  EXPECT_EQ(ErrorOf("flambeau-vocabulary\t1\t10\n"), "v.tsv: the vocabulary has no terms");
  const std::string header = "flambeau-vocabulary\t1\t10\n";
  EXPECT_EQ(ErrorOf(header + "a\t1\nb 2\n"), "v.tsv:3: expected `term<tab>idf`, found `b 2`");
  EXPECT_EQ(ErrorOf(header + "a\t1\nb\t2x\n"), "v.tsv:3: expected `term<tab>idf`, found `b?2x`");
  EXPECT_EQ(ErrorOf(header + "a\t1\nb\tnan\n"), "v.tsv:3: the idf of \"b\" must be a positive number");
  EXPECT_EQ(ErrorOf(header + "a\t-1\n"), "v.tsv:2: the idf of \"a\" must be a positive number");
  EXPECT_EQ(ErrorOf(header + "a\t1\na\t1\n"), "v.tsv:3: \"a\" comes twice");
  EXPECT_EQ(ErrorOf(header + "b\t1\na\t1\n"),
            "v.tsv:3: \"a\" stands behind \"b\": terms must be sorted bytewise");
  EXPECT_EQ(ErrorOf(header + "A\t1\n"), "v.tsv:2: \"A\" is no term: terms are made of a-z and 0-9");
  EXPECT_EQ(ErrorOf(header + "a\t1\nb\t2"), "v.tsv:3: the last line has no end; the file was cut");
}

TEST(VocabularyTest, AMissingFileIsNotFound) {
  const TestFolder folder;
  const auto vocabulary = Vocabulary::Load(folder.path() / "none.tsv");
  ASSERT_FALSE(vocabulary);
  EXPECT_EQ(vocabulary.error().code, Code::kNotFound);
}

TEST(VocabularyTest, AFileIsLoaded) {
  const TestFolder folder;
  const auto vocabulary = Vocabulary::Load(folder.Write("v.tsv", kSmallVocabulary));
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->terms().size(), 4U);
}

}  // namespace
}  // namespace serve
