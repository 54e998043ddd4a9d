#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "trainer/model/evaluation.h"
#include "trainer/model/linear_text_model.h"
#include "trainer/model/naive_bayes.h"

namespace serve::trainer {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;

/// Two terms, two classes: text 0 is term 0, text 1 is both, text 2 is empty.
LabelledBags SmallData() {
  LabelledBags data;
  data.bags = {{0, 0, 1}, {0, 1, 3}, {1.0F, 0.6F, 0.8F}};
  data.labels = {0, 1, 1};
  return data;
}

TEST(LinearTextModelTest, LogitsAreWeightedRowsAndTheBias) {
  const LinearTextModel model{2, {1, 2, 10, 20}, {0.5F, -0.5F}};
  const std::vector<double> logits = Logits(model, SmallData().bags);
  EXPECT_THAT(logits, ElementsAre(DoubleNear(1.5, 1e-6), DoubleNear(1.5, 1e-6), DoubleNear(9.1, 1e-5),
                                  DoubleNear(16.7, 1e-5), DoubleNear(0.5, 1e-6), DoubleNear(-0.5, 1e-6)));
}

TEST(LinearTextModelTest, SoftmaxStandsLargeLogits) {
  std::vector<double> rows = {1000, 1000, -1000, 0};
  Softmax(rows, 2);
  EXPECT_THAT(rows, ElementsAre(0.5, 0.5, DoubleNear(0, 1e-12), DoubleNear(1, 1e-12)));
}

TEST(LinearTextModelTest, TheDigestTellsModelsApart) {
  const LinearTextModel model{2, {1, 2, 3, 4}, {0, 0}};
  EXPECT_EQ(WeightsDigest(model), WeightsDigest(model));
  EXPECT_NE(WeightsDigest(model), WeightsDigest(Scaled(model, 1.5F)));
}

TEST(NaiveBayesTest, WeightsAreThoseOfTheComplementFormula) {
  const LinearTextModel model = ComplementNaiveBayes(SmallData(), 2, 2, 0.3);
  // N = [[1, .6], [0, .8]]; C = [[.6 + .3, 1 + .3], [.8 + .3, 0 + .3]]; sums 2, 1.6
  const double a = -std::log(0.9 / 2);
  const double b = -std::log(1.3 / 1.6);
  const double c = -std::log(1.1 / 2);
  const double d = -std::log(0.3 / 1.6);
  EXPECT_THAT(model.weight, ElementsAre(testing::FloatNear(static_cast<float>((a - b) / 2), 1e-6F),
                                        testing::FloatNear(static_cast<float>((b - a) / 2), 1e-6F),
                                        testing::FloatNear(static_cast<float>((c - d) / 2), 1e-6F),
                                        testing::FloatNear(static_cast<float>((d - c) / 2), 1e-6F)));
  EXPECT_THAT(model.bias, ElementsAre(0.0F, 0.0F));
}

TEST(EvaluationTest, ScoresComeFromTheConfusion) {
  // Predicts class 0 for text 0, class 1 for text 1, class 0 for the empty text 2.
  const LinearTextModel model{2, {3, 0, 0, 9}, {0.1F, 0}};
  const Evaluation evaluation = Evaluate(model, SmallData());
  EXPECT_THAT(evaluation.confusion, ElementsAre(ElementsAre(1, 0), ElementsAre(1, 1)));
  EXPECT_DOUBLE_EQ(evaluation.accuracy, 2.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].precision, 0.5);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].recall, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[0].f1, 2.0 / 3);
  EXPECT_DOUBLE_EQ(evaluation.classes[1].precision, 1);
  EXPECT_DOUBLE_EQ(evaluation.classes[1].recall, 0.5);
  EXPECT_EQ(evaluation.classes[1].rows, 2U);
  EXPECT_GT(evaluation.log_loss, 0);
}

TEST(EvaluationTest, AClassThatIsNeverSeenScoresZero) {
  LabelledBags data;
  data.bags = {{0}, {0}, {1.0F}};
  data.labels = {0};
  const Evaluation evaluation = Evaluate({2, {1, 0}, {0, 0}}, data);
  EXPECT_EQ(evaluation.classes[1].precision, 0);
  EXPECT_EQ(evaluation.classes[1].recall, 0);
  EXPECT_EQ(evaluation.classes[1].f1, 0);
}

TEST(EvaluationTest, TheReportNamesLabelsScoresAndConfusion) {
  const Evaluation evaluation = Evaluate({2, {3, 0, 0, 9}, {0.1F, 0}}, SmallData());
  const std::string text = EvaluationText(evaluation, {"World", "Sports"});
  EXPECT_THAT(text, HasSubstr("World       0.500      1.000      0.667        1\n"));
  EXPECT_THAT(text, HasSubstr("accuracy 0.6667 on 3 rows"));
  const auto json = EvaluationJson(evaluation, {"World", "Sports"});
  EXPECT_EQ(json["confusion_matrix"].dump(), "[[1,0],[1,1]]");
  EXPECT_EQ(json["per_class"][1]["label"], "Sports");
}

}  // namespace
}  // namespace serve::trainer
