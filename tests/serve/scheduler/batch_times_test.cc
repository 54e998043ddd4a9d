#include "serve/scheduler/batch_times.h"

#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::microseconds;

void Learn(BatchTimes& times, std::int64_t rows, microseconds took) {
  for (int i = 0; i < 5; ++i) times.Record(rows, took);
}

TEST(BatchTimesTest, KnowsNothingAtFirstAndAllowsTheWholeBatch) {
  BatchTimes times(16);
  EXPECT_EQ(times.BestRows(), 16);
  EXPECT_EQ(times.Predict(4).count(), 0);
}

TEST(BatchTimesTest, PredictsFromTheNearestSmallerSizeThatItHasSeen) {
  BatchTimes times(16);
  Learn(times, 2, microseconds(20));
  EXPECT_EQ(times.Predict(2), microseconds(20));
  EXPECT_EQ(times.Predict(8), microseconds(80));
  EXPECT_EQ(times.Predict(1).count(), 0) << "nothing at or below 1 was seen";
}

TEST(BatchTimesTest, NeverAllowsASizeThatIsSlowerPerRowThanOne) {
  BatchTimes times(8);
  Learn(times, 1, microseconds(10));
  Learn(times, 2, microseconds(15));
  Learn(times, 4, microseconds(60));
  Learn(times, 8, microseconds(200));
  EXPECT_EQ(times.BestRows(), 2);
}

TEST(BatchTimesTest, AModelThatDoesNotBatchRunsOneByOne) {
  BatchTimes times(4);
  Learn(times, 1, microseconds(10));
  Learn(times, 2, microseconds(40));
  Learn(times, 4, microseconds(90));
  EXPECT_EQ(times.BestRows(), 1);
}

/// Runs one row after the other until a larger batch is allowed; false: it never is.
bool WaitForTrial(BatchTimes& times) {
  for (int i = 0; i < 5000 && times.BestRows() == 1; ++i) times.Record(1, microseconds(10));
  return times.BestRows() > 1;
}

TEST(BatchTimesTest, TriesASlowSizeAgainLater) {
  BatchTimes times(2);
  Learn(times, 1, microseconds(10));
  Learn(times, 2, microseconds(400));
  ASSERT_EQ(times.BestRows(), 1);
  ASSERT_TRUE(WaitForTrial(times));
  times.Record(2, microseconds(14));
  for (int i = 0; i < 1000; ++i) times.Record(1, microseconds(10));
  EXPECT_EQ(times.BestRows(), 2);
}

TEST(BatchTimesTest, ATrialEndsThoughNoLargeBatchComes) {
  BatchTimes times(8);
  for (const int rows : {1, 2, 4, 8}) Learn(times, rows, microseconds(10 * rows * rows));
  ASSERT_EQ(times.BestRows(), 1);
  ASSERT_TRUE(WaitForTrial(times));
  EXPECT_EQ(times.BestRows(), 8);
  for (int i = 0; i < 100; ++i) times.Record(1, microseconds(10));
  EXPECT_EQ(times.BestRows(), 1);
}

TEST(BatchTimesTest, ARunThatWasInterruptedHardlyCounts) {
  BatchTimes times(1);
  Learn(times, 1, microseconds(10));
  times.Record(1, std::chrono::milliseconds(40));
  EXPECT_LT(times.Predict(1), microseconds(12));
  for (int i = 0; i < 100; ++i) times.Record(1, std::chrono::milliseconds(1));
  EXPECT_GT(times.Predict(1), microseconds(900)) << "a model that has become slow is believed";
}

TEST(BatchTimesTest, GrowsFromATimeThatWasTooShortToMeasure) {
  BatchTimes times(1);
  Learn(times, 1, microseconds(0));
  for (int i = 0; i < 200; ++i) times.Record(1, microseconds(500));
  EXPECT_GT(times.Predict(1), microseconds(400));
}

TEST(BatchTimesTest, AnOddBatchSizeIsTheUpperBound) {
  BatchTimes times(12);
  Learn(times, 1, microseconds(10));
  Learn(times, 12, microseconds(30));
  EXPECT_EQ(times.BestRows(), 12);
}

}  // namespace
}  // namespace serve
