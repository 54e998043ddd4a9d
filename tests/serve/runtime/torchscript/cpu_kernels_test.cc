// Every kernel that this CPU can run gives the numbers of plain loops.
#include "serve/runtime/torchscript/cpu_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace serve {
namespace {

std::vector<float> Random(std::size_t count) {
  static std::mt19937 generator(3);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(generator);
  return values;
}

struct Sizes {
  std::int64_t inputs;
  std::int64_t outputs;
};

class DenseKernelTest : public ::testing::TestWithParam<Sizes> {};

TEST_P(DenseKernelTest, GivesTheNumbersOfPlainLoopsForAnyNumberOfRows) {
  const auto [inputs, outputs] = GetParam();
  const std::vector<float> weight = Random(static_cast<std::size_t>(inputs * outputs));
  const std::vector<float> bias = Random(static_cast<std::size_t>(outputs));
  for (const CpuKernels* kernels : CpuKernelsHere()) {
    for (const bool relu : {false, true}) {
      const DenseLayer layer = PackDense(*kernels, weight.data(), bias.data(), inputs, outputs, relu);
      for (const std::int64_t rows : {1, 2, 3, 5, 6, 7, 12, 13, 31}) {
        const std::vector<float> x = Random(static_cast<std::size_t>(rows * inputs));
        constexpr float kUntouched = 77;
        std::vector<float> y(static_cast<std::size_t>(rows * outputs + 1), kUntouched);
        kernels->run_dense(layer.view(), x.data(), rows, y.data());
        for (std::int64_t row = 0; row < rows; ++row) {
          for (std::int64_t out = 0; out < outputs; ++out) {
            double expected = bias[static_cast<std::size_t>(out)];
            for (std::int64_t k = 0; k < inputs; ++k) {
              expected += static_cast<double>(x[static_cast<std::size_t>(row * inputs + k)]) *
                          weight[static_cast<std::size_t>(out * inputs + k)];
            }
            if (relu) expected = std::max(expected, 0.0);
            ASSERT_NEAR(y[static_cast<std::size_t>(row * outputs + out)], expected, 1e-4)
                << kernels->lanes << " lanes, " << rows << " rows, row " << row << ", output " << out;
          }
        }
        EXPECT_EQ(y.back(), kUntouched);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, DenseKernelTest,
                         ::testing::Values(Sizes{1, 1}, Sizes{7, 3}, Sizes{64, 64}, Sizes{33, 17},
                                           Sizes{20, 40}, Sizes{16, 65}, Sizes{50, 128}, Sizes{9, 200}));

TEST(CpuKernelsTest, ARowDoesNotDependOnTheOthersOfItsBatch) {
  const std::vector<float> weight = Random(64 * 100);
  const std::vector<float> x = Random(20 * 64);
  for (const CpuKernels* kernels : CpuKernelsHere()) {
    const DenseLayer layer = PackDense(*kernels, weight.data(), nullptr, 64, 100, true);
    std::vector<float> together(20 * 100);
    kernels->run_dense(layer.view(), x.data(), 20, together.data());
    std::vector<float> alone(100);
    for (std::size_t row = 0; row < 20; ++row) {
      kernels->run_dense(layer.view(), x.data() + row * 64, 1, alone.data());
      for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(alone[i], together[row * 100 + i]);
    }
  }
}

TEST(CpuKernelsTest, ReluLetsNanThrough) {
  const float weight = 1;
  const float x[] = {std::numeric_limits<float>::quiet_NaN(), -1, 1};
  for (const CpuKernels* kernels : CpuKernelsHere()) {
    const DenseLayer layer = PackDense(*kernels, &weight, nullptr, 1, 1, true);
    float y[3];
    kernels->run_dense(layer.view(), x, 3, y);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(y[1], 0);
    EXPECT_EQ(y[2], 1);
  }
}

TEST(CpuKernelsTest, WinogradGivesTheOutputsOfA3x3Convolution) {
  constexpr std::size_t kChannels = 32;
  const std::vector<float> weight = Random(kChannels * kChannels * 9);
  const std::vector<float> bias = Random(kChannels);
  const std::vector<float> patch = Random(36 * kChannels);  // [6, 6, channels]
  const std::vector<float> other = Random(16 * kChannels);
  for (const CpuKernels* kernels : CpuKernelsHere()) {
    std::vector<const float*> pixels;
    for (std::size_t i = 0; i < 36; ++i) pixels.push_back(patch.data() + i * kChannels);
    std::vector<float> points(36 * kChannels);
    std::vector<float> sums(36 * kChannels);
    kernels->winograd.transform_input(pixels.data(), kChannels, points.data(), kChannels);
    for (std::size_t point = 0; point < 36; ++point) {
      const DenseLayer layer =
          PackWinograd(*kernels, weight.data(), kChannels, kChannels, static_cast<std::int64_t>(point));
      kernels->run_dense(layer.view(), points.data() + point * kChannels, 1, sums.data() + point * kChannels);
    }
    std::vector<float> got(16 * kChannels, 77);
    std::vector<float*> to(16);
    std::vector<const float*> added(16);
    for (std::size_t i = 0; i < 15; ++i) {  // the last one lies outside
      to[i] = got.data() + i * kChannels;
      if (i % 2 == 0) added[i] = other.data() + i * kChannels;
    }
    kernels->winograd.transform_output(sums.data(), kChannels, kChannels, bias.data(), added.data(),
                                       to.data(), true);
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t out = 0; out < kChannels; ++out) {
        double expected = bias[out] + (i % 2 == 0 ? other[i * kChannels + out] : 0.0F);
        for (std::size_t row = 0; row < 3; ++row) {
          for (std::size_t column = 0; column < 3; ++column) {
            const float* pixel = patch.data() + ((i / 4 + row) * 6 + i % 4 + column) * kChannels;
            for (std::size_t in = 0; in < kChannels; ++in) {
              expected +=
                  static_cast<double>(pixel[in]) * weight[((out * kChannels + in) * 3 + row) * 3 + column];
            }
          }
        }
        const float value = got[i * kChannels + out];
        if (i == 15) {
          EXPECT_EQ(value, 77);
        } else {
          ASSERT_NEAR(value, std::max(expected, 0.0), 1e-3) << "output " << i << ", channel " << out;
        }
      }
    }
  }
}

TEST(CpuKernelsTest, ExponentialsAreThoseOfTheMathLibrary) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const CpuKernels* kernels : CpuKernelsHere()) {
    for (const std::size_t count : {1, 5, 16, 17, 40, 128}) {
      std::vector<float> x = Random(count);
      for (std::size_t i = 0; i < count; ++i) x[i] *= i % 3 == 0 ? 100.0F : 5.0F;
      if (count > 1) x[0] = -kInfinity;
      const float largest = *std::max_element(x.begin(), x.end());
      std::vector<float> got = x;
      const float sum = kernels->exponentials(got.data(), static_cast<std::int64_t>(count));
      double expected_sum = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const double expected = std::exp(static_cast<double>(x[i] - largest));  // the difference is a float
        EXPECT_NEAR(got[i], expected, 1e-6 * expected + 1e-37) << x[i] << " of " << count;
        expected_sum += expected;
      }
      EXPECT_NEAR(sum, expected_sum, 1e-5 * expected_sum);
    }
    std::vector<float> nothing(21, -kInfinity);
    EXPECT_EQ(kernels->exponentials(nothing.data(), 21), 0);
    EXPECT_EQ(nothing, std::vector<float>(21, 0.0F));
    std::vector<float> broken{1, std::numeric_limits<float>::quiet_NaN(), 2};
    EXPECT_TRUE(std::isnan(kernels->exponentials(broken.data(), 3)));
  }
}

}  // namespace
}  // namespace serve
