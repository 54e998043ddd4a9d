#include "bench/load/schedule.h"

#include <set>

#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::milliseconds;
using TimePoint = ArrivalSchedule::TimePoint;

TEST(ArrivalScheduleTest, RequestsAreEvenlySpacedFromTheStart) {
  const TimePoint start(std::chrono::seconds(100));
  const ArrivalSchedule schedule(start, 50);
  EXPECT_EQ(schedule.At(0), start);
  EXPECT_EQ(schedule.At(1), start + milliseconds(20));
  EXPECT_EQ(schedule.At(5'000), start + std::chrono::seconds(100));
}

TEST(ArrivalScheduleTest, ThreadsShareTheRateWithoutGapsOrDoubles) {
  const TimePoint start(std::chrono::seconds(1));
  std::set<TimePoint> together;
  for (int thread = 0; thread < 3; ++thread) {
    const ArrivalSchedule schedule(start, 1'000, 3, thread);
    for (std::uint64_t n = 0; n < 10; ++n) together.insert(schedule.At(n));
  }
  ASSERT_EQ(together.size(), 30U);
  EXPECT_EQ(*together.begin(), start);
  EXPECT_EQ(*together.rbegin(), start + milliseconds(29));
}

TEST(ArrivalScheduleTest, CountsWhatIsDueBeforeATime) {
  const TimePoint start(std::chrono::seconds(1));
  const ArrivalSchedule schedule(start, 100);
  EXPECT_EQ(schedule.CountBefore(start), 0U);
  EXPECT_EQ(schedule.CountBefore(start - milliseconds(1)), 0U);
  EXPECT_EQ(schedule.CountBefore(start + milliseconds(10)), 1U);
  EXPECT_EQ(schedule.CountBefore(start + milliseconds(11)), 2U);
  EXPECT_EQ(schedule.CountBefore(start + std::chrono::seconds(10)), 1'000U);
}

TEST(ArrivalScheduleTest, TheCountAgreesWithTheTimesForAwkwardRates) {
  const TimePoint start(std::chrono::nanoseconds(123'456'789));
  const ArrivalSchedule schedule(start, 33'333.3, 2, 1);
  for (std::uint64_t n = 0; n < 100'000; n += 997) {
    EXPECT_EQ(schedule.CountBefore(schedule.At(n)), n);
    EXPECT_EQ(schedule.CountBefore(schedule.At(n) + std::chrono::nanoseconds(1)), n + 1);
  }
}

}  // namespace
}  // namespace serve
