#include "handlers/tensor/plain_numbers.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/tensor/json_reader.h"
#include "serve/base/buffer.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::ElementsAre;

std::optional<Sample> Read(const std::string& text, std::string_view spec) {
  const Buffer body{std::string_view(text)};
  return ReadPlainNumbers(body.view(), ParseTensorSpec(spec).value());
}

TEST(PlainNumbersTest, ReadsRowsAsDeepAsDeclared) {
  const auto one = Read(" [ [1 , -2.5],\n\t[3e2,0.125e-1]\r\n] ", "x:float32:[2,2]");
  ASSERT_TRUE(one);
  EXPECT_THAT(one->inputs.at(0).shape, ElementsAre(1, 2, 2));
  EXPECT_THAT(Values<float>(one->inputs[0]), ElementsAre(1, -2.5F, 300, 0.0125F));
  EXPECT_TRUE(one->hint.single_row);
  EXPECT_EQ(one->rows, 1);

  const auto several = Read("[[1],[2],[3],[4],[5]]", "x:float32:[1]");
  ASSERT_TRUE(several);
  EXPECT_THAT(several->inputs.at(0).shape, ElementsAre(5, 1));
  EXPECT_THAT(Values<float>(several->inputs[0]), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_FALSE(several->hint.single_row);
  EXPECT_EQ(several->rows, 5);
}

TEST(PlainNumbersTest, LeavesEverythingElseToTheReaderOfJson) {
  const std::string zero_inside("[1\0,2]", 6);
  for (const std::string& text : {std::string(),
                                  std::string("["),
                                  std::string("[]"),
                                  std::string("[1]"),
                                  std::string("[1,2,3]"),
                                  std::string("[1,2"),
                                  std::string("[1,2]]"),
                                  std::string("[1,2] 3"),
                                  std::string("[1 2]"),
                                  std::string("[1,,2]"),
                                  std::string("[1,2,]"),
                                  std::string("[[1,2],]"),
                                  std::string("[[1,2],[3]]"),
                                  std::string("[[[1,2]]]"),
                                  std::string("[01,2]"),
                                  std::string("[1.,2]"),
                                  std::string("[.5,2]"),
                                  std::string("[-,2]"),
                                  std::string("[+1,2]"),
                                  std::string("[1e,2]"),
                                  std::string("[1e+,2]"),
                                  std::string("[1e39,2]"),
                                  std::string("[1e400,2]"),
                                  std::string("[1e99999,2]"),
                                  std::string("[NaN,2]"),
                                  std::string("[-Infinity,2]"),
                                  std::string("[null,2]"),
                                  std::string("[\"1\",2]"),
                                  std::string("[1,2}"),
                                  std::string("{\"x\":[1,2]}"),
                                  zero_inside}) {
    EXPECT_FALSE(Read(text, "x:float32:[2]")) << text;
  }
  for (const std::string_view spec :
       {"x:float32:[-1]", "x:float32:[]", "x:float64:[2]", "x:int64:[2]", "x:float32:[4000000000]"}) {
    EXPECT_FALSE(Read("[1,2]", spec)) << spec;
  }
}

// A declaration of any size is JsonReader's, whose numbers are simdjson's.
TEST(PlainNumbersTest, EveryNumberIsToTheBitThatOfTheReaderOfJson) {
  std::mt19937_64 random(1);
  std::string text =
      "[0, -0, 0.0, -0.0e5, 1e-46, 1.17549435e-38, 3.4028234e38, 9007199254740993, 1e22, 1e23,"
      "123456789012345678901234567890, 0.000000000000000000000000000000000001, 5e-324,"
      "2.2250738585072011e-308, 16777217, 0.1000000014901161193847656250000001";
  std::int64_t count = 16;
  for (; count < 20'000; ++count) {
    const auto bits = random();
    double value = 0;
    switch (count % 4) {
      case 0: {
        const auto low = static_cast<std::uint32_t>(bits);
        float single = 0;
        std::memcpy(&single, &low, sizeof(single));
        value = std::isfinite(single) ? single : 1;
        break;
      }
      case 1:
        value = std::ldexp(static_cast<double>(bits), -64);
        break;
      default:
        value = static_cast<double>(static_cast<std::int64_t>(bits) >> (bits % 63)) / 1000;
    }
    const bool fits = std::abs(value) < 1e38;
    text += count % 4 == 3 ? fmt::format(",{:.7g}", fits ? value : 1) : fmt::format(", {}", fits ? value : 1);
  }
  text += "]";
  const auto plain = Read(text, fmt::format("x:float32:[{}]", count));
  ASSERT_TRUE(plain);
  const Buffer body{std::string_view(text)};
  const Result<Sample> reference = ReadJsonSample(body.view(), {ParseTensorSpec("x:float32:[-1]").value()});
  ASSERT_TRUE(reference) << reference.error().message;
  ASSERT_EQ(plain->inputs[0].shape, reference->inputs[0].shape);
  for (std::int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(std::memcmp(plain->inputs[0].as<float>() + i, reference->inputs[0].as<float>() + i, 4), 0)
        << fmt::format("number {}: {} and {}", i, plain->inputs[0].as<float>()[i],
                       reference->inputs[0].as<float>()[i]);
  }
}

}  // namespace
}  // namespace serve
