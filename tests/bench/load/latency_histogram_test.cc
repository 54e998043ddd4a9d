#include "bench/load/latency_histogram.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace serve {
namespace {

TEST(LatencyHistogramTest, AnEmptyOneAnswersZero) {
  const LatencyHistogram histogram;
  EXPECT_EQ(histogram.Percentile(0.5), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.Mean(), 0);
}

TEST(LatencyHistogramTest, EveryValueComesBackWithinOnePercent) {
  for (double value = 1; value < 1e12; value *= 1.37) {
    LatencyHistogram histogram;
    const auto exact = static_cast<std::int64_t>(value);
    histogram.Record(exact);
    histogram.Record(exact * 4);  // so that the bucket is not cut at the maximum
    const double error = std::abs(static_cast<double>(histogram.Percentile(0.5) - exact));
    EXPECT_LE(error, 0.01 * value) << exact;
  }
}

TEST(LatencyHistogramTest, PercentilesAreThoseOfTheValues) {
  LatencyHistogram histogram;
  for (int i = 1; i <= 1000; ++i) histogram.Record(i * 1000);
  EXPECT_NEAR(static_cast<double>(histogram.Percentile(0.5)), 500'000, 5'000);
  EXPECT_NEAR(static_cast<double>(histogram.Percentile(0.99)), 990'000, 9'900);
  EXPECT_NEAR(static_cast<double>(histogram.Percentile(0.001)), 1'000, 10);
  EXPECT_EQ(histogram.Percentile(1), 1'000'000);
  EXPECT_EQ(histogram.max(), 1'000'000);
  EXPECT_EQ(histogram.Mean(), 500'500);
}

TEST(LatencyHistogramTest, MergedHistogramsCountLikeOne) {
  LatencyHistogram low;
  LatencyHistogram high;
  for (int i = 0; i < 90; ++i) low.Record(1'000);
  for (int i = 0; i < 10; ++i) high.Record(1'000'000);
  low.Merge(high);
  EXPECT_EQ(low.count(), 100U);
  EXPECT_NEAR(static_cast<double>(low.Percentile(0.9)), 1'000, 10);
  EXPECT_NEAR(static_cast<double>(low.Percentile(0.91)), 1'000'000, 10'000);
}

TEST(LatencyHistogramTest, ValuesBeyondTheRangeAreCountedAtItsEnds) {
  LatencyHistogram histogram;
  histogram.Record(-5);
  histogram.Record(INT64_MAX);
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.Percentile(0.5), 0);
  EXPECT_GT(histogram.Percentile(1), std::int64_t{1} << 39);
}

}  // namespace
}  // namespace serve
