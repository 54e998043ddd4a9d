#include "handlers/handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::ElementsAre;

/// The defaults of Handler, nothing else.
class PlainHandler final : public Handler {
 public:
  Result<Sample> Prepare(Request) const override { return Internal("not used"); }
  Result<Response> Render(const Output&, const RenderHint&) const override { return Internal("not used"); }
  Result<Sample> SyntheticSample() const override { return Internal("not used"); }
};

Sample SampleOf(std::vector<Tensor> inputs) {
  Sample sample;
  sample.rows = inputs.front().rows();
  sample.inputs = std::move(inputs);
  return sample;
}

TEST(HandlerCollateTest, OneSampleKeepsItsMemory) {
  const Sample sample = SampleOf({MakeTensor<float>(DType::kFloat32, {1, 2}, {1, 2})});
  const auto inputs = PlainHandler().Collate({&sample});
  ASSERT_TRUE(inputs);
  EXPECT_EQ((*inputs)[0].data, sample.inputs[0].data);
}

TEST(HandlerCollateTest, RowsOfAllSamplesStandOneUnderTheOther) {
  const Sample one = SampleOf({MakeTensor<float>(DType::kFloat32, {1, 2}, {1, 2}),
                               MakeTensor<std::int64_t>(DType::kInt64, {1}, {7})});
  const Sample two = SampleOf({MakeTensor<float>(DType::kFloat32, {2, 2}, {3, 4, 5, 6}),
                               MakeTensor<std::int64_t>(DType::kInt64, {2}, {8, 9})});
  const auto inputs = PlainHandler().Collate({&one, &two});
  ASSERT_TRUE(inputs);
  ASSERT_EQ(inputs->size(), 2U);
  EXPECT_THAT((*inputs)[0].shape, ElementsAre(3, 2));
  EXPECT_THAT(Values<float>((*inputs)[0]), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT((*inputs)[1].shape, ElementsAre(3));
  EXPECT_THAT(Values<std::int64_t>((*inputs)[1]), ElementsAre(7, 8, 9));
}

TEST(HandlerCollateTest, SamplesThatDoNotFitAreAnErrorNotAWriteOutOfBounds) {
  const Sample one = SampleOf({MakeTensor<float>(DType::kFloat32, {1, 1}, {1})});
  const Sample wide = SampleOf({MakeTensor<float>(DType::kFloat32, {1, 3}, {1, 2, 3})});
  const Sample wider_type = SampleOf({MakeTensor<double>(DType::kFloat64, {1, 1}, {1})});
  const Sample scalar = SampleOf({MakeTensor<float>(DType::kFloat32, {}, {1})});
  const Sample none = Sample{};
  const PlainHandler handler;
  EXPECT_EQ(handler.Collate({&one, &wide}).error().code, Code::kInternal);
  EXPECT_EQ(handler.Collate({&one, &wider_type}).error().code, Code::kInternal);
  EXPECT_EQ(handler.Collate({&scalar, &scalar}).error().code, Code::kInternal);
  EXPECT_EQ(handler.Collate({&one, &none}).error().code, Code::kInternal);
  EXPECT_EQ(handler.Collate({}).error().code, Code::kInternal);
}

TEST(HandlerSplitTest, EachSampleGetsItsRowsAsViews) {
  Sample one;
  Sample two;
  two.rows = 2;
  const Tensor scores = MakeTensor<float>(DType::kFloat32, {3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor label = MakeTensor<std::int64_t>(DType::kInt64, {3}, {7, 8, 9});
  const auto outputs = PlainHandler().Split({scores, label}, {"scores", "label"}, {&one, &two});
  ASSERT_TRUE(outputs);
  ASSERT_EQ(outputs->size(), 2U);
  EXPECT_THAT((*outputs)[0].tensors[0].shape, ElementsAre(1, 2));
  EXPECT_THAT(Values<float>((*outputs)[0].tensors[0]), ElementsAre(1, 2));
  EXPECT_THAT((*outputs)[1].tensors[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(Values<float>((*outputs)[1].tensors[0]), ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(Values<std::int64_t>((*outputs)[1].tensors[1]), ElementsAre(8, 9));
  EXPECT_THAT((*outputs)[1].names, ElementsAre("scores", "label"));
  EXPECT_EQ((*outputs)[1].tensors[0].data.get(), scores.data.get() + 8);
}

TEST(HandlerSplitTest, OutputsWithoutTheRowsOfTheBatchAreRefused) {
  Sample one;
  one.rows = 4;
  const Tensor good = Tensor::Empty(DType::kFloat32, {4, 2});
  const auto lost = PlainHandler().Split({good, Tensor::Empty(DType::kFloat32, {3, 4})}, {}, {&one});
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Code::kPredictionFailed);
  EXPECT_EQ(
      lost.error().message,
      "the model answered 3 rows for a batch of 4 (output 1 has shape [3, 4]); it must keep dimension 0");
  const auto scalar = PlainHandler().Split({Tensor::Empty(DType::kFloat32, {})}, {}, {&one});
  ASSERT_FALSE(scalar);
  EXPECT_EQ(scalar.error().message,
            "the model answered no rows for a batch of 4 (output 0 has shape []); it must keep dimension 0");
}

TEST(HandlerSplitTest, WhatCollateJoinsSplitTakesApart) {
  std::vector<Sample> samples;
  for (int rows = 1; rows <= 5; ++rows) {
    Tensor tensor = Tensor::Empty(DType::kInt32, {rows, 2, 3});
    for (int i = 0; i < rows * 6; ++i) tensor.as<std::int32_t>()[i] = 1000 * rows + i;
    samples.push_back(SampleOf({tensor}));
  }
  std::vector<const Sample*> batch;
  for (const Sample& sample : samples) batch.push_back(&sample);
  const auto joined = PlainHandler().Collate(batch);
  ASSERT_TRUE(joined);
  const auto parts = PlainHandler().Split(*joined, {}, batch);
  ASSERT_TRUE(parts);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ((*parts)[i].tensors[0].shape, samples[i].inputs[0].shape);
    EXPECT_EQ(Values<std::int32_t>((*parts)[i].tensors[0]), Values<std::int32_t>(samples[i].inputs[0]));
  }
}

}  // namespace
}  // namespace serve
