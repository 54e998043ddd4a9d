#include "serve/api/traffic_rule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using testing::HasSubstr;
using What = Verdict::What;

/// `slow` of the answers took 80 ms, the others 8 ms.
Contestant Made(const char* version, int answered, int errors, int slow = 0) {
  ModelMetrics metrics("m", version);
  metrics.failed.Add(static_cast<std::uint64_t>(errors));
  metrics.succeeded.Add(static_cast<std::uint64_t>(answered - errors));
  for (int i = 0; i < answered - errors; ++i) metrics.total.Observe(i < slow ? 0.08 : 0.008);
  return {version, CountsOf(metrics)};
}

Verdict Judged(const Contestant& candidate, const Contestant& stable, TrafficRule rule = {},
               int seconds = 0) {
  return Judge(rule, candidate, stable, std::chrono::seconds(seconds));
}

TEST(TrafficRuleTest, WaitsForItsRequests) {
  const Verdict verdict = Judged(Made("2", 499, 0), Made("1", 4500, 0));
  EXPECT_EQ(verdict.what, What::kWait);
  EXPECT_THAT(verdict.why, HasSubstr("2 answered 499 of 500 requests"));
}

TEST(TrafficRuleTest, PromotesWhatIsNoWorseAndSaysWhy) {
  const Verdict verdict = Judged(Made("2", 500, 5), Made("1", 4500, 0));
  EXPECT_EQ(verdict.what, What::kPromote);
  EXPECT_THAT(verdict.why, HasSubstr("2: 500 requests, 5 errors (1.00 %), p99 9."));
  EXPECT_THAT(verdict.why, HasSubstr("1: 4500 requests, 0 errors (0.00 %), p99 9."));
}

TEST(TrafficRuleTest, RollsBackForErrorsAsSoonAsItIsSure) {
  EXPECT_EQ(Judged(Made("2", 5, 5), Made("1", 45, 0)).what, What::kWait) << "5 of 500 are allowed";
  const Verdict verdict = Judged(Made("2", 6, 6), Made("1", 45, 0));
  EXPECT_EQ(verdict.what, What::kRollBack);
  EXPECT_THAT(verdict.why, HasSubstr("too many errors, at most 1.00 % are allowed"));
  EXPECT_EQ(Judged(Made("2", 500, 50), Made("1", 4500, 450)).what, What::kPromote) << "both fail alike";
}

TEST(TrafficRuleTest, RollsBackWhatIsSlower) {
  const Verdict verdict = Judged(Made("2", 500, 0, 25), Made("1", 4500, 0));
  EXPECT_EQ(verdict.what, What::kRollBack);
  EXPECT_THAT(verdict.why, HasSubstr("too slow, a p99 of"));
  EXPECT_EQ(Judged(Made("2", 500, 0, 25), Made("1", 4500, 0), {.max_p99_ratio = 20}).what, What::kPromote);
  EXPECT_EQ(Judged(Made("2", 500, 0, 25), Made("1", 4500, 0), {.p99_slack_ms = 100}).what, What::kPromote);
}

TEST(TrafficRuleTest, NeedsSomethingToCompareWithAndItsTime) {
  EXPECT_EQ(Judged(Made("2", 500, 0), Made("1", 19, 0)).what, What::kWait);
  const TrafficRule rule{.min_time = std::chrono::seconds(60)};
  EXPECT_THAT(Judged(Made("2", 500, 0), Made("1", 500, 0), rule, 59).why, HasSubstr("59 of 60 s"));
  EXPECT_EQ(Judged(Made("2", 500, 0), Made("1", 500, 0), rule, 60).what, What::kPromote);
}

TEST(TrafficRuleTest, CountsFromItsBeginning) {
  ModelMetrics metrics("m", "1");
  const auto answer = [&](int count, double seconds) {
    for (int i = 0; i < count; ++i) metrics.total.Observe(seconds);
    metrics.succeeded.Add(static_cast<std::uint64_t>(count));
  };
  answer(100, 40);
  const TrafficCounts before = CountsOf(metrics);
  answer(50, 0.002);
  metrics.rejected[static_cast<std::size_t>(RejectReason::kQueueFull)].Add();
  metrics.rejected[static_cast<std::size_t>(RejectReason::kBadInput)].Add(9);  // the client's
  const TrafficCounts since = Since(CountsOf(metrics), before);
  EXPECT_EQ(since.answered, 51U);
  EXPECT_EQ(since.errors, 1U);
  EXPECT_LE(Quantile(since.latency, 0.99), 0.0025);
  EXPECT_EQ(Quantile(Since(before, before).latency, 0.99), 0);
}

TEST(TrafficRuleTest, QuantilesLieBetweenTheBoundsOfTheirBucket) {
  Histogram histogram(LatencyBounds());
  for (int i = 0; i < 50; ++i) histogram.Observe(0.004);
  for (int i = 0; i < 50; ++i) histogram.Observe(0.009);
  EXPECT_DOUBLE_EQ(Quantile(histogram.Read(), 0.5), 0.005);
  EXPECT_DOUBLE_EQ(Quantile(histogram.Read(), 0.75), 0.0075);
  histogram.Observe(1000);
  EXPECT_DOUBLE_EQ(Quantile(histogram.Read(), 1), 60);
}

}  // namespace
}  // namespace serve
