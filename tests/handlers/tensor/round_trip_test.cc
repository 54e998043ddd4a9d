#include <cmath>
#include <cstring>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "handlers/tensor/half.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                            DType::kInt64,   DType::kInt32,   DType::kInt16,   DType::kInt8,
                            DType::kUInt8,   DType::kBool};

bool IsFinite(DType dtype, const std::byte* at) {
  std::uint16_t half = 0;
  std::memcpy(&half, at, dtype == DType::kFloat16 || dtype == DType::kBFloat16 ? 2 : 0);
  float single = 0;
  std::memcpy(&single, at, dtype == DType::kFloat32 ? 4 : 0);
  double real = 0;
  std::memcpy(&real, at, dtype == DType::kFloat64 ? 8 : 0);
  if (dtype == DType::kFloat16) single = FloatFromHalf(half);
  if (dtype == DType::kBFloat16) single = FloatFromBFloat16(half);
  return std::isfinite(single) && std::isfinite(real);
}

/// A tensor of any finite values: random bit patterns, so that tiny, huge and negative zero all come.
Tensor RandomTensor(std::mt19937_64& random, DType dtype, std::vector<std::int64_t> shape) {
  Tensor tensor = Tensor::Empty(dtype, std::move(shape));
  const std::size_t size = DTypeSize(dtype);
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    std::byte* at = tensor.data.get() + static_cast<std::size_t>(i) * size;
    do {
      std::uint64_t bits = random();
      if (dtype == DType::kBool) bits &= 1;
      std::memcpy(at, &bits, size);
    } while (!IsFinite(dtype, at));
  }
  return tensor;
}

TEST(TensorRoundTripTest, WhatRenderWritesPrepareReadsBackBitByBit) {
  std::mt19937_64 random(20240611);
  for (int round = 0; round < 600; ++round) {
    const DType dtype = kTypes[random() % std::size(kTypes)];
    std::vector<std::int64_t> row(random() % 4);
    for (std::int64_t& dim : row) dim = 1 + static_cast<std::int64_t>(random() % 5);
    std::vector<std::int64_t> shape = row;
    shape.insert(shape.begin(), 1 + static_cast<std::int64_t>(random() % 4));
    const Tensor tensor = RandomTensor(random, dtype, shape);

    HandlerArtifacts artifacts;
    artifacts.inputs = {{"x", dtype, row}};
    for (std::int64_t& dim : artifacts.inputs[0].shape) dim = random() % 2 == 0 ? -1 : dim;
    const auto handler = MakeHandler("tensor", artifacts);
    ASSERT_TRUE(handler);
    RenderHint hint;
    hint.single_row = shape[0] == 1 && random() % 2 == 0;
    const auto response = (*handler)->Render(Output{{tensor}, {}}, hint);
    ASSERT_TRUE(response) << response.error().message;
    const auto sample = (*handler)->Prepare(RawRequest(response->body));
    ASSERT_TRUE(sample) << sample.error().message << '\n' << response->body;
    ASSERT_EQ(sample->inputs[0].shape, shape) << response->body;
    ASSERT_EQ(sample->hint.single_row, hint.single_row);
    ASSERT_EQ(std::memcmp(sample->inputs[0].data.get(), tensor.data.get(), tensor.bytes()), 0)
        << response->body;

    // An independent parser sees the same numbers.
    const auto json = nlohmann::json::parse(response->body, nullptr, false);
    ASSERT_FALSE(json.is_discarded()) << response->body;
  }
}

TEST(TensorRoundTripTest, AnIndependentParserReadsTheSameNumbers) {
  std::mt19937_64 random(7);
  const Tensor tensor = RandomTensor(random, DType::kFloat32, {1, 1000});
  const auto response = TensorHandlerFor({})->Render(Output{{tensor}, {}}, RenderHint{});
  ASSERT_TRUE(response);
  const auto values = nlohmann::json::parse(response->body).get<std::vector<float>>();
  ASSERT_EQ(values.size(), 1000U);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], tensor.as<float>()[i]);
}

TEST(TensorRoundTripTest, DamagedBodiesGiveAnErrorOrATensorNeverMore) {
  // Every prefix and many single-byte changes of valid bodies: sanitizers watch, the reader must answer.
  std::mt19937_64 random(99);
  const std::string_view bodies[] = {"[[1.5,2,3],[4,5e3,-6]]", R"({"instances": [[1,2,3],[4,5,6]]})",
                                     R"({"x": [1,2,3]})",
                                     R"({"instances": [{"x": [1,2,3]}, {"x": [4,5,6]}]})"};
  const auto handler = TensorHandlerFor({"x:float32:[3]"});
  constexpr std::string_view kBytes = "[]{},:\"\\0919.eE+-tfnN \n\x80\xff\x01";
  for (const std::string_view body : bodies) {
    for (std::size_t size = 1; size < body.size(); ++size) {
      EXPECT_FALSE(handler->Prepare(RawRequest(body.substr(0, size)))) << body.substr(0, size);
    }
    for (int round = 0; round < 3000; ++round) {
      std::string damaged(body);
      for (std::uint64_t i = 0; i <= random() % 3; ++i) {
        damaged[random() % damaged.size()] = kBytes[random() % kBytes.size()];
      }
      const auto sample = handler->Prepare(RawRequest(damaged));
      if (sample) {
        // Whatever is accepted is JSON for others, too.
        EXPECT_FALSE(nlohmann::json::parse(damaged, nullptr, false).is_discarded()) << damaged;
        EXPECT_EQ(sample->inputs[0].shape[1], 3) << damaged;
      } else {
        EXPECT_LE(sample.error().message.size(), 300U);
      }
    }
  }
}

}  // namespace
}  // namespace serve
