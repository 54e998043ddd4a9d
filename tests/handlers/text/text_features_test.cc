#include "handlers/text/text_features.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

class TextFeaturesTest : public testing::Test {
 protected:
  const Vocabulary vocabulary_ = Vocabulary::Parse(kSmallVocabulary, "v.tsv").value();
  TextBags bags_;
};

TEST_F(TextFeaturesTest, WeightsAreSublinearCountsTimesIdfOfUnitLength) {
  AppendText("vote, Team! unknown TEAM", vocabulary_, bags_);
  const double team = (1 + std::log(2.0)) * 1;
  const double vote = 4;
  const double length = std::sqrt(team * team + vote * vote);
  EXPECT_THAT(bags_.ids, ElementsAre(2, 3));
  EXPECT_THAT(bags_.offsets, ElementsAre(0));
  EXPECT_THAT(bags_.weights, ElementsAre(FloatEq(static_cast<float>(team / length)),
                                         FloatEq(static_cast<float>(vote / length))));
}

TEST_F(TextFeaturesTest, TextsStandOneBehindTheOtherAndUnknownOnesAreEmptyBags) {
  AppendText("bank goal", vocabulary_, bags_);
  AppendText("nothing known", vocabulary_, bags_);
  AppendText("bank", vocabulary_, bags_);
  EXPECT_THAT(bags_.offsets, ElementsAre(0, 2, 2));
  EXPECT_THAT(bags_.ids, ElementsAre(0, 1, 0));
  EXPECT_EQ(bags_.Begin(1), bags_.End(1));
  EXPECT_EQ(bags_.End(2), 3U);
  EXPECT_EQ(bags_.weights[2], 1.0F);
}

}  // namespace
}  // namespace serve
