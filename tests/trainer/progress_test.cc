#include "trainer/loop/progress.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve::trainer {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Shown(Progress::Form form) {
  std::ostringstream out;
  Progress progress(out, form, 20);
  progress.Show({0, 1.25, 0.9, 0.8});
  progress.Show({10, 0.5, 0.99, 0.9125});
  progress.Finish();
  return out.str();
}

TEST(ProgressTest, WithoutATerminalEachIterationIsALine) {
  const std::string text = Shown(Progress::Form::kLines);
  EXPECT_THAT(text, HasSubstr("iteration 10/20  loss 0.5000  training 0.9900  validation 0.9125  "));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, Not(HasSubstr("\r")));
}

TEST(ProgressTest, OnATerminalOneLineIsWrittenOver) {
  const std::string text = Shown(Progress::Form::kBar);
  EXPECT_THAT(text, HasSubstr("\r\033[K[==========          ] iteration 10/20"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST(ProgressTest, QuietSaysNothing) { EXPECT_EQ(Shown(Progress::Form::kNone), ""); }

}  // namespace
}  // namespace serve::trainer
