#include "trainer/data/bag_chunks.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"
#include "trainer/model/naive_bayes.h"
#include "trainer/model/objective.h"

namespace serve::trainer {
namespace {

/// So many rows of words w0, w1, … that several chunks are needed.
std::vector<LabelledText> ManyRows() {
  std::vector<LabelledText> rows;
  for (int i = 0; i < 6000; ++i) {
    std::string text;
    for (int j = 0; j < 100; ++j) text += "w" + std::to_string((i * 7 + j * j) % 997) + " ";
    rows.push_back({i % 3, text});
  }
  return rows;
}

void Fill(const std::vector<LabelledText>& rows, const Vocabulary& vocabulary, BagChunks& chunks) {
  for (const LabelledText& row : rows) ASSERT_TRUE(chunks.Append(row.text, row.label, vocabulary).ok());
  ASSERT_TRUE(chunks.Finish().ok());
}

TEST(BagChunksTest, RowsInAFileGiveTheSameNumbersAsRowsInMemory) {
  const std::vector<LabelledText> rows = ManyRows();
  const Vocabulary vocabulary = CountVocabulary(rows).value();
  BagChunks in_memory(std::size_t{1} << 30);
  BagChunks in_file(std::size_t{4} << 20);  // the first chunk fits
  Fill(rows, vocabulary, in_memory);
  Fill(rows, vocabulary, in_file);
  EXPECT_EQ(in_memory.in_file(), 0U);
  EXPECT_GT(in_file.in_file(), 0U);
  EXPECT_EQ(in_file.rows(), rows.size());
  const BagChunks whole(EncodeRows(rows, vocabulary));

  const LinearTextModel model = ComplementNaiveBayes(in_memory, vocabulary.terms().size(), 3, 0.3);
  EXPECT_EQ(model.weight, ComplementNaiveBayes(in_file, vocabulary.terms().size(), 3, 0.3).weight);
  const Objective expected = ComputeObjective(model, whole, {});
  for (const BagChunks* chunks : {&in_memory, &in_file}) {
    for (int pass = 0; pass < 2; ++pass) {
      const Objective objective = ComputeObjective(model, *chunks, {});
      EXPECT_EQ(objective.loss, expected.loss);
      EXPECT_EQ(objective.accuracy, expected.accuracy);
      EXPECT_EQ(objective.weight_gradient, expected.weight_gradient);
    }
  }
}

TEST(BagChunksTest, AFolderForFilesThatIsMissingIsNamed) {
  const std::vector<LabelledText> rows = ManyRows();
  const Vocabulary vocabulary = CountVocabulary(rows).value();
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  setenv("TMPDIR", "/nowhere/at/all", 1);
  BagChunks chunks(0);
  Status status;
  for (std::size_t i = 0; status.ok() && i < rows.size(); ++i)
    status = chunks.Append(rows[i].text, rows[i].label, vocabulary);
  if (status.ok()) status = chunks.Finish();
  before == nullptr ? unsetenv("TMPDIR") : setenv("TMPDIR", kept.c_str(), 1);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message.find("TMPDIR"), std::string::npos) << status.message;
}

TEST(ObjectiveTest, TheGradientIsThatOfTheLoss) {
  const BagChunks data(LabelledBags{{{0, 1, 1, 2}, {0, 2}, {0.6F, 0.8F, 1, 0.5F}}, {0, 1}});
  LinearTextModel model{2, {0.5F, -0.25F, 0.125F, 1, 0, 0.75F}, {0.5F, 0}};
  const std::vector<double> weights = {3, 1};
  const Objective at = ComputeObjective(model, data, weights);
  constexpr float kStep = 1.0F / 1024;
  for (std::size_t i = 0; i < model.weight.size(); ++i) {
    LinearTextModel moved = model;
    moved.weight[i] += kStep;
    const double more = ComputeObjective(moved, data, weights).loss;
    moved.weight[i] -= 2 * kStep;
    const double less = ComputeObjective(moved, data, weights).loss;
    EXPECT_NEAR(at.weight_gradient[i], (more - less) / (2 * kStep), 1e-6) << i;
  }
}

TEST(ObjectiveTest, BalancedWeightsMakeClassesCountTheSame) {
  EXPECT_EQ(BalancedWeights({30, 10, 0, 40}), (std::vector<double>{80.0 / 120, 2, 1, 0.5}));
}

TEST(VocabularyCounterTest, TheTermsOfTheMostTextsAreKept) {
  VocabularyCounter counter(2);
  for (const char* text : {"oil price", "oil rose", "rose price oil", "c d e f g", "oil rose"})
    counter.Add(text);
  const Vocabulary vocabulary = counter.Finish().value();
  EXPECT_TRUE(counter.pruned());
  ASSERT_EQ(vocabulary.terms().size(), 2U);
  EXPECT_EQ(vocabulary.terms()[0].text, "oil");
  EXPECT_EQ(vocabulary.terms()[1].text, "rose");
  EXPECT_EQ(vocabulary.documents(), 5);
}

TEST(VocabularyCounterTest, WhileItCountsItsTermsAreBounded) {
  VocabularyCounter counter(100);
  for (int i = 0; i < 20'000; ++i) counter.Add("often x" + std::to_string(i));
  const Vocabulary vocabulary = counter.Finish().value();
  EXPECT_LE(vocabulary.terms().size(), 100U);
  ASSERT_TRUE(vocabulary.IdOf("often"));
  EXPECT_NEAR(vocabulary.Idf(*vocabulary.IdOf("often")), 1, 1e-12);  // in every text: counted exactly
}

}  // namespace
}  // namespace serve::trainer
