#include "serve/base/recent_problems.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

TEST(RecentProblemsTest, TheNewestAreKeptAndEqualOnesInARowAreCounted) {
  for (std::size_t i = 0; i < kRecentProblems + 5; ++i) NoteProblem(LogLevel::kError, std::to_string(i));
  NoteProblem(LogLevel::kWarning, "the disk is full");
  NoteProblem(LogLevel::kWarning, "the disk is full");
  const std::vector<Problem> problems = RecentProblems();
  ASSERT_EQ(problems.size(), kRecentProblems);
  EXPECT_EQ(problems[0].text, "the disk is full");
  EXPECT_EQ(problems[0].times, 2U);
  EXPECT_EQ(problems[1].text, std::to_string(kRecentProblems + 4));
  EXPECT_EQ(problems[1].times, 1U);
}

TEST(RecentProblemsTest, WarningsOfTheLogAreAmongThemAndLongOnesAreCut) {
  LogWarning("{}", std::string(2 * kProblemBytes, 'x'));
  EXPECT_EQ(RecentProblems().front().text, std::string(kProblemBytes, 'x'));
  LogInfo("all is well");
  EXPECT_NE(RecentProblems().front().text, "all is well");
}

}  // namespace
}  // namespace serve
