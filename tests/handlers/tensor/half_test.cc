#include "handlers/tensor/half.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace serve {
namespace {

TEST(HalfTest, EveryHalfSurvivesTheWayThroughFloat) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = FloatFromHalf(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(FloatFromHalf(HalfFromFloat(value))));
    } else {
      ASSERT_EQ(HalfFromFloat(value), half) << value;
    }
    const float brain = FloatFromBFloat16(half);
    if (std::isnan(brain)) continue;
    ASSERT_EQ(BFloat16FromFloat(brain), half) << brain;
  }
}

TEST(HalfTest, WhatLiesBetweenTwoHalvesGoesToTheNearestAndTiesToTheEvenOne) {
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = FloatFromHalf(half);
    const float high = FloatFromHalf(static_cast<std::uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;  // exact in float
    ASSERT_EQ(HalfFromFloat(middle), half % 2 == 0 ? half : half + 1) << middle;
    ASSERT_EQ(HalfFromFloat(std::nextafter(middle, low)), half) << middle;
    ASSERT_EQ(HalfFromFloat(std::nextafter(middle, high)), half + 1) << middle;
    ASSERT_EQ(HalfFromFloat(-middle), 0x8000 | HalfFromFloat(middle));
  }
}

TEST(HalfTest, LimitsAreIeee) {
  EXPECT_EQ(HalfFromFloat(65504), 0x7bff);
  EXPECT_EQ(HalfFromFloat(std::nextafter(65520.0F, 0.0F)), 0x7bff);
  EXPECT_EQ(HalfFromFloat(65520), 0x7c00);
  EXPECT_EQ(HalfFromFloat(-std::numeric_limits<float>::infinity()), 0xfc00);
  EXPECT_EQ(HalfFromFloat(0x1p-24F), 0x0001);
  EXPECT_EQ(HalfFromFloat(0x1p-25F), 0x0000);
  EXPECT_EQ(HalfFromFloat(-0.0F), 0x8000);
  EXPECT_EQ(BFloat16FromFloat(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(FloatFromBFloat16(BFloat16FromFloat(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace serve
