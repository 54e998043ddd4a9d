#include "trainer/loop/interrupt.h"

#include <csignal>

#include <gtest/gtest.h>

namespace serve::trainer {
namespace {

TEST(InterruptGuardTest, TheFirstSignalIsRememberedAndTheNextGuardStartsAnew) {
  {
    const InterruptGuard guard;
    EXPECT_FALSE(InterruptGuard::Interrupted());
    std::raise(SIGINT);
    EXPECT_TRUE(InterruptGuard::Interrupted());
  }
  const InterruptGuard guard;
  EXPECT_FALSE(InterruptGuard::Interrupted());
}

TEST(InterruptGuardDeathTest, TheSecondSignalEndsTheProgramWith130) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      testing::ExitedWithCode(130), "");
}

TEST(InterruptGuardDeathTest, AfterTheGuardASignalEndsTheProgramAsBefore) {
  EXPECT_EXIT(
      {
        { const InterruptGuard guard; }
        std::raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace serve::trainer
