#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/tensor/half.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

const RenderHint kRow{true, false, false};
const RenderHint kRows{false, false, false};
const RenderHint kInstances{false, true, false};

std::string Rendered(std::vector<Tensor> tensors, const RenderHint& hint,
                     std::vector<std::string> names = {}) {
  const auto response = TensorHandlerFor({})->Render(Output{std::move(tensors), std::move(names)}, hint);
  if (!response) return response.error().message;
  EXPECT_EQ(response->content_type, "application/json");
  return response->body;
}

Tensor Floats(std::vector<std::int64_t> shape, std::initializer_list<float> values) {
  return MakeTensor<float>(DType::kFloat32, std::move(shape), values);
}

TEST(TensorRenderTest, OneRowIsTheRowItself) {
  EXPECT_EQ(Rendered({Floats({1, 3}, {1, 0.5F, -2})}, kRow), "[1.0,0.5,-2.0]");
  EXPECT_EQ(Rendered({Floats({1, 2, 2}, {1, 2, 3, 4})}, kRow), "[[1.0,2.0],[3.0,4.0]]");
  EXPECT_EQ(Rendered({Floats({1}, {0.25F})}, kRow), "0.25");
  EXPECT_EQ(Rendered({Floats({1, 0}, {})}, kRow), "[]");
}

TEST(TensorRenderTest, RowsAreAList) {
  EXPECT_EQ(Rendered({Floats({2, 2}, {1, 2, 3, 4})}, kRows), "[[1.0,2.0],[3.0,4.0]]");
  EXPECT_EQ(Rendered({Floats({1, 2}, {1, 2})}, kRows), "[[1.0,2.0]]");
  EXPECT_EQ(Rendered({Floats({2}, {1, 2})}, kRows), "[1.0,2.0]");
}

TEST(TensorRenderTest, InstancesAreAnsweredWithPredictions) {
  EXPECT_EQ(Rendered({Floats({2, 1}, {1, 2})}, kInstances), R"({"predictions":[[1.0],[2.0]]})");
  EXPECT_EQ(Rendered({Floats({2}, {1, 2})}, kInstances), R"({"predictions":[1.0,2.0]})");
}

TEST(TensorRenderTest, SeveralOutputsAreAnObjectWhenNamedElseAList) {
  const Tensor scores = Floats({1, 2}, {0.5F, 0.25F});
  const Tensor label = MakeTensor<std::int64_t>(DType::kInt64, {1}, {7});
  EXPECT_EQ(Rendered({scores, label}, kRow, {"scores", "la\"b\nel"}),
            R"({"scores":[0.5,0.25],"la\"b\u000ael":7})");
  EXPECT_EQ(Rendered({scores, label}, kRow), "[[0.5,0.25],7]");
  EXPECT_EQ(Rendered({scores, label}, kRow, {"only one name"}), "[[0.5,0.25],7]");
  EXPECT_EQ(Rendered({scores}, kRow, {"scores"}), "[0.5,0.25]");

  const Tensor two_scores = Floats({2, 1}, {1, 2});
  const Tensor two_labels = MakeTensor<std::int64_t>(DType::kInt64, {2}, {3, 4});
  EXPECT_EQ(Rendered({two_scores, two_labels}, kRows, {"s", "l"}), R"({"s":[[1.0],[2.0]],"l":[3,4]})");
  EXPECT_EQ(Rendered({two_scores, two_labels}, kInstances, {"s", "l"}),
            R"({"predictions":[{"s":[1.0],"l":3},{"s":[2.0],"l":4}]})");
  EXPECT_EQ(Rendered({two_scores, two_labels}, kInstances), R"({"predictions":[[[1.0],3],[[2.0],4]]})");
}

TEST(TensorRenderTest, DeclaredOutputsNameWhatTheModelLeavesUnnamed) {
  const auto handler = TensorHandlerFor({}, {"a:float32:[]", "b:float32:[]"});
  const auto response = handler->Render(Output{{Floats({1}, {1}), Floats({1}, {2})}, {}}, kRow);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->body, R"({"a":1.0,"b":2.0})");
}

TEST(TensorRenderTest, EveryTypeHasItsText) {
  EXPECT_EQ(
      Rendered({MakeTensor<double>(DType::kFloat64, {1, 3}, {0.1, 1e20, 1.7976931348623157e308})}, kRow),
      "[0.1,1e+20,1.7976931348623157e+308]");
  EXPECT_EQ(Rendered({Floats({1, 4}, {0.1F, 16777216, 1e-45F, -0.0F})}, kRow), "[0.1,16777216.0,1e-45,-0.0]");
  EXPECT_EQ(
      Rendered({MakeTensor<std::uint16_t>(DType::kFloat16, {1, 2}, {HalfFromFloat(1.5F), 0x0001})}, kRow),
      "[1.5,5.9604645e-08]");
  EXPECT_EQ(Rendered({MakeTensor<std::uint16_t>(DType::kBFloat16, {1, 1}, {BFloat16FromFloat(-2)})}, kRow),
            "[-2.0]");
  EXPECT_EQ(Rendered({MakeTensor<std::int64_t>(DType::kInt64, {1, 2},
                                               {std::numeric_limits<std::int64_t>::min(),
                                                std::numeric_limits<std::int64_t>::max()})},
                     kRow),
            "[-9223372036854775808,9223372036854775807]");
  EXPECT_EQ(Rendered({MakeTensor<std::int32_t>(DType::kInt32, {1, 1}, {-5})}, kRow), "[-5]");
  EXPECT_EQ(Rendered({MakeTensor<std::int16_t>(DType::kInt16, {1, 1}, {-5})}, kRow), "[-5]");
  EXPECT_EQ(Rendered({MakeTensor<std::int8_t>(DType::kInt8, {1, 2}, {-128, 127})}, kRow), "[-128,127]");
  EXPECT_EQ(Rendered({MakeTensor<std::uint8_t>(DType::kUInt8, {1, 1}, {255})}, kRow), "[255]");
  EXPECT_EQ(Rendered({MakeTensor<std::uint8_t>(DType::kBool, {1, 2}, {1, 0})}, kRow), "[true,false]");
}

TEST(TensorRenderTest, WhatJsonCannotSayIsNull) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Rendered({Floats({1, 3}, {std::numeric_limits<float>::quiet_NaN(), inf, -inf})}, kRow),
            "[null,null,null]");
  EXPECT_EQ(Rendered({MakeTensor<std::uint16_t>(DType::kFloat16, {1, 2}, {0x7c00, 0x7e00})}, kRow),
            "[null,null]");
}

TEST(TensorRenderTest, ViewsOfRowsAreRenderedFromTheirOwnPlace) {
  const Tensor whole = MakeTensor<std::int8_t>(DType::kInt8, {3, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_EQ(Rendered({whole.Rows(1, 1)}, kRow), "[4,5,6]");
  EXPECT_EQ(Rendered({whole.Rows(1, 2)}, kRows), "[[4,5,6],[7,8,9]]");
}

TEST(TensorRenderTest, OutputsWithoutRowsAreRefused) {
  EXPECT_EQ(Rendered({Floats({2}, {1, 2})}, kRow), "output 0 has shape [2], expected 1 rows in dimension 0");
  EXPECT_EQ(Rendered({Floats({2}, {1, 2}), Floats({}, {1})}, kInstances),
            "output 1 has shape [], expected 2 rows in dimension 0");
}

TEST(TensorRenderTest, BinaryIsTheMemoryOfTheOnlyOutput) {
  const auto handler = TensorHandlerFor({"x:float32:[1]"});
  Request request = RawRequest("[1]");
  request.accept = "application/octet-stream, */*";
  const auto sample = handler->Prepare(std::move(request));
  ASSERT_TRUE(sample);
  EXPECT_TRUE(sample->hint.binary);
  const Tensor whole = MakeTensor<std::uint8_t>(DType::kUInt8, {3, 2}, {'a', 'b', 'c', 'd', 'e', 'f'});
  const auto response = handler->Render(Output{{whole.Rows(1, 2)}, {}}, sample->hint);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->content_type, "application/octet-stream");
  EXPECT_EQ(response->body, "cdef");
  const auto two = handler->Render(Output{{whole, whole}, {}}, sample->hint);
  ASSERT_FALSE(two);
  EXPECT_EQ(
      two.error().message,
      "the model answers 2 tensors, application/octet-stream carries one; ask with Accept: application/json");
}

TEST(TensorRenderTest, OtherAcceptHeadersGetJson) {
  const auto handler = TensorHandlerFor({"x:float32:[1]"});
  for (const std::string_view accept : {"", "*/*", "application/json, application/octet-stream"}) {
    Request request = RawRequest("[1]");
    request.accept = accept;
    EXPECT_FALSE(handler->Prepare(std::move(request))->hint.binary) << accept;
  }
}

}  // namespace
}  // namespace serve
