#include "trainer/data/features.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve::trainer {
namespace {

using testing::ElementsAre;

TEST(CountVocabularyTest, TermsAreSortedWithTheIdfOfTheirTexts) {
  const auto vocabulary = CountVocabulary({{0, "Oil oil, bank"}, {1, "oil 9"}, {1, "goal"}});
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  std::vector<std::string> terms;
  for (const Term& term : vocabulary->terms()) terms.push_back(term.text);
  EXPECT_THAT(terms, ElementsAre("9", "bank", "goal", "oil"));
  EXPECT_DOUBLE_EQ(vocabulary->Idf(1), std::log(4.0 / 2.0) + 1);
  EXPECT_DOUBLE_EQ(vocabulary->Idf(3), std::log(4.0 / 3.0) + 1);  // texts count, not occurrences
  EXPECT_EQ(vocabulary->documents(), 3);
}

TEST(CountVocabularyTest, AWordLongerThanTheFileAllowsIsLeftOut) {
  const auto vocabulary = CountVocabulary({{0, "oil " + std::string(kMaxTermBytes + 1, 'a')}});
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  EXPECT_EQ(vocabulary->terms().size(), 1U);
}

TEST(EncodeRowsTest, LabelsGoWithTheirTexts) {
  const std::vector<LabelledText> rows = {{1, "oil bank"}, {0, "goal"}};
  const auto vocabulary = CountVocabulary(rows);
  const LabelledBags encoded = EncodeRows(rows, *vocabulary);
  EXPECT_THAT(encoded.labels, ElementsAre(1, 0));
  EXPECT_THAT(encoded.bags.offsets, ElementsAre(0, 2));
  EXPECT_THAT(encoded.bags.ids, ElementsAre(0, 2, 1));
}

}  // namespace
}  // namespace serve::trainer
