#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/tensor/half.h"
#include "handlers/tensor/tensor_handler.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Sample Prepared(const Handler& handler, std::string_view body) {
  Result<Sample> sample = handler.Prepare(RawRequest(body));
  EXPECT_TRUE(sample) << body << ": " << sample.error().message;
  return sample ? std::move(*sample) : Sample{{Tensor::Empty(DType::kFloat32, {0})}, 0, 0, {}};
}

TEST(TensorJsonTest, AnArrayOfTheDeclaredRankIsOneRow) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[3]"}), " [1, 2.5,-3e2]\n");
  ASSERT_EQ(sample.inputs.size(), 1U);
  EXPECT_EQ(sample.inputs[0].dtype, DType::kFloat32);
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 3));
  EXPECT_THAT(Values<float>(sample.inputs[0]), ElementsAre(1, 2.5, -300));
  EXPECT_EQ(sample.rows, 1);
  EXPECT_TRUE(sample.hint.single_row);
  EXPECT_FALSE(sample.hint.instances);
  EXPECT_FALSE(sample.hint.binary);
}

TEST(TensorJsonTest, AnArrayOneDeeperIsSeveralRows) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[2]"}), "[[1,2],[3,4],[5,6]]");
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(3, 2));
  EXPECT_THAT(Values<float>(sample.inputs[0]), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(sample.rows, 3);
  EXPECT_FALSE(sample.hint.single_row);
}

// Of any size, so that it is not ReadPlainNumbers that reads them.
TEST(TensorJsonTest, NumbersMayHaveMoreDigitsThanFitInto64Bits) {
  const Sample sample =
      Prepared(*TensorHandlerFor({"x:float64:[-1]"}),
               "[0.1000000014901161193847656250000001, -0.00012345678901234567890123, 5e-324,"
               "0.33333333333333333333 ]");
  EXPECT_THAT(Values<double>(sample.inputs[0]),
              ElementsAre(0.10000000149011612, -0.00012345678901234567890123, 5e-324, 1.0 / 3));
  const Sample scalar = Prepared(*TensorHandlerFor({"x:float64:[]"}), "0.1000000014901161193847656250000001");
  EXPECT_THAT(Values<double>(scalar.inputs[0]), ElementsAre(0.10000000149011612));
}

TEST(TensorJsonTest, OneRowInAListIsAnsweredAsAList) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[2]"}), "[[1,2]]");
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 2));
  EXPECT_FALSE(sample.hint.single_row);
}

TEST(TensorJsonTest, TheOnlyInputMayBeCalledDataOrBody) {
  for (const bool declared : {true, false}) {
    const auto handler = declared ? TensorHandlerFor({"x:float32:[2]"})
                                  : TensorHandlerFor(std::initializer_list<std::string_view>{});
    for (const char* body :
         {R"({"data": [1, 2]})", R"({"body": [1, 2]})", R"({"instances": [{"data": [1, 2]}]})"}) {
      const Sample sample = Prepared(*handler, body);
      EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 2)) << body;
      EXPECT_THAT(Values<float>(sample.inputs[0]), ElementsAre(1, 2)) << body;
    }
    EXPECT_FALSE(handler->Prepare(RawRequest(R"({"data": [1, 2], "body": [1, 2]})")));
  }
  const auto two = TensorHandlerFor({"x:float32:[2]", "y:float32:[2]"});
  EXPECT_FALSE(two->Prepare(RawRequest(R"({"data": [1, 2]})")));
}

TEST(TensorJsonTest, ADeclaredScalarTakesANumberOrAListOfThem) {
  const auto handler = TensorHandlerFor({"x:int64:[]"});
  const Sample one = Prepared(*handler, " 42 ");
  EXPECT_THAT(one.inputs[0].shape, ElementsAre(1));
  EXPECT_THAT(Values<std::int64_t>(one.inputs[0]), ElementsAre(42));
  EXPECT_TRUE(one.hint.single_row);
  const Sample list = Prepared(*handler, "[1,2,3]");
  EXPECT_THAT(list.inputs[0].shape, ElementsAre(3));
  EXPECT_THAT(Values<std::int64_t>(list.inputs[0]), ElementsAre(1, 2, 3));
  EXPECT_EQ(list.rows, 3);
  const Sample instances = Prepared(*handler, R"({"instances": [4, 5]})");
  EXPECT_THAT(Values<std::int64_t>(instances.inputs[0]), ElementsAre(4, 5));
}

TEST(TensorJsonTest, InstancesAreRowsAndAskForPredictions) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[2]"}), R"({"instances": [[1,2],[3,4]]})");
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(Values<float>(sample.inputs[0]), ElementsAre(1, 2, 3, 4));
  EXPECT_TRUE(sample.hint.instances);
  EXPECT_FALSE(sample.hint.single_row);
}

TEST(TensorJsonTest, TheOnlyInputMayBeNamed) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"});
  EXPECT_TRUE(Prepared(*handler, R"({"x": [1,2]})").hint.single_row);
  EXPECT_EQ(Prepared(*handler, R"({"x": [[1,2],[3,4]]})").rows, 2);
  const Sample rows = Prepared(*handler, R"({"instances": [{"x": [1,2]}, [3,4]]})");
  EXPECT_THAT(Values<float>(rows.inputs[0]), ElementsAre(1, 2, 3, 4));
}

TEST(TensorJsonTest, SeveralInputsComeByNameInAnyOrder) {
  const auto handler = TensorHandlerFor({"ids:int64:[-1]", "weight:float32:[]"});
  const Sample one = Prepared(*handler, R"({"weight": 0.5, "ids": [7, 8]})");
  ASSERT_EQ(one.inputs.size(), 2U);
  EXPECT_THAT(one.inputs[0].shape, ElementsAre(1, 2));
  EXPECT_THAT(Values<std::int64_t>(one.inputs[0]), ElementsAre(7, 8));
  EXPECT_THAT(Values<float>(one.inputs[1]), ElementsAre(0.5));
  EXPECT_TRUE(one.hint.single_row);

  const Sample rows = Prepared(*handler, R"({"ids": [[7, 8], [9, 10]], "weight": [0.5, 0.25]})");
  EXPECT_EQ(rows.rows, 2);
  EXPECT_THAT(Values<float>(rows.inputs[1]), ElementsAre(0.5, 0.25));

  const Sample instances =
      Prepared(*handler, R"({"instances": [{"ids": [1, 2], "weight": 3}, {"weight": 4, "ids": [5, 6]}]})");
  EXPECT_THAT(instances.inputs[0].shape, ElementsAre(2, 2));
  EXPECT_THAT(Values<std::int64_t>(instances.inputs[0]), ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(instances.inputs[1].shape, ElementsAre(2));
  EXPECT_THAT(Values<float>(instances.inputs[1]), ElementsAre(3, 4));
  EXPECT_TRUE(instances.hint.instances);
}

TEST(TensorJsonTest, NamesMayBeWrittenWithEscapes) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[1]"}), R"({"\u0078": [1]})");
  EXPECT_THAT(Values<float>(sample.inputs[0]), ElementsAre(1));
}

TEST(TensorJsonTest, WithoutADeclarationTheBodyIsOneRowOfFloats) {
  const auto handler = TensorHandlerFor(std::initializer_list<std::string_view>{});
  const Sample row = Prepared(*handler, "[[1,2,3],[4,5,6]]");
  EXPECT_EQ(row.inputs[0].dtype, DType::kFloat32);
  EXPECT_THAT(row.inputs[0].shape, ElementsAre(1, 2, 3));
  EXPECT_TRUE(row.hint.single_row);
  EXPECT_THAT(Prepared(*handler, "5").inputs[0].shape, ElementsAre(1));
  const Sample rows = Prepared(*handler, R"({"instances": [[1,2],[3,4],[5,6]]})");
  EXPECT_THAT(rows.inputs[0].shape, ElementsAre(3, 2));
}

TEST(TensorJsonTest, FreeDimensionsTakeTheSizeThatComes) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:float32:[2,-1]"}), "[[1,2,3],[4,5,6]]");
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 2, 3));
  EXPECT_TRUE(sample.hint.single_row);
}

TEST(TensorJsonTest, AnEmptyArrayIsARowWhereTheSizeIsFree) {
  const auto handler = TensorHandlerFor({"ids:int64:[-1]"});
  const Sample row = Prepared(*handler, "[]");
  EXPECT_THAT(row.inputs[0].shape, ElementsAre(1, 0));
  EXPECT_THAT(Values<std::int64_t>(row.inputs[0]), IsEmpty());
  EXPECT_THAT(Prepared(*handler, "[[],[]]").inputs[0].shape, ElementsAre(2, 0));
  EXPECT_THAT(Prepared(*TensorHandlerFor({"x:float32:[-1,-1]"}), R"({"instances": [[]]})").inputs[0].shape,
              ElementsAre(1, 0, 0));
}

TEST(TensorJsonTest, AFieldOfAFormIsReadLikeABody) {
  // What follows the field in the form's body ("456]]]") is not read as part of the last number or array.
  const auto sample = TensorHandlerFor({"x:float32:[-1]"})->Prepare(FormRequest("[1,2]"));
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_THAT(Values<float>(sample->inputs[0]), ElementsAre(1, 2));
  const auto number = TensorHandlerFor({"x:float32:[]"})->Prepare(FormRequest("7", ""));
  ASSERT_TRUE(number) << number.error().message;
  EXPECT_THAT(Values<float>(number->inputs[0]), ElementsAre(7));
  EXPECT_FALSE(TensorHandlerFor({"x:float32:[-1]"})->Prepare(FormRequest("[[1,2]")));
}

TEST(TensorJsonTest, JsonIsRecognisedByTypeAndWithoutOneByItsLook) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"});
  for (const std::string_view type :
       {"application/json", "Application/JSON", "text/plain", "application/ld+json", "",
        "application/x-www-form-urlencoded", "application/json; charset=utf-8"}) {
    EXPECT_TRUE(handler->Prepare(RawRequest("[1,2]", type))) << type;
  }
}

TEST(TensorJsonTest, AByteOrderMarkIsSkipped) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"});
  EXPECT_THAT(Values<float>(Prepared(*handler, "\xef\xbb\xbf[1,2]").inputs[0]), ElementsAre(1, 2));
}

TEST(TensorJsonTest, IntegersReachTheirLimits) {
  const Sample wide =
      Prepared(*TensorHandlerFor({"x:int64:[2]"}), "[-9223372036854775808, 9223372036854775807]");
  EXPECT_THAT(Values<std::int64_t>(wide.inputs[0]), ElementsAre(std::numeric_limits<std::int64_t>::min(),
                                                                std::numeric_limits<std::int64_t>::max()));
  const Sample middle = Prepared(*TensorHandlerFor({"x:int32:[2]"}), "[-2147483648, 2147483647]");
  EXPECT_THAT(Values<std::int32_t>(middle.inputs[0]), ElementsAre(-2147483648, 2147483647));
  const Sample narrow = Prepared(*TensorHandlerFor({"x:int16:[2]"}), "[-32768, 32767]");
  EXPECT_THAT(Values<std::int16_t>(narrow.inputs[0]), ElementsAre(-32768, 32767));
  EXPECT_THAT(Values<std::int8_t>(Prepared(*TensorHandlerFor({"x:int8:[2]"}), "[-128, 127]").inputs[0]),
              ElementsAre(-128, 127));
  EXPECT_THAT(Values<std::uint8_t>(Prepared(*TensorHandlerFor({"x:uint8:[2]"}), "[0, 255]").inputs[0]),
              ElementsAre(0, 255));
}

TEST(TensorJsonTest, AWholeNumberMayBeWrittenAsAFloat) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:int64:[4]"}), "[3.0, 1e3, -0, -0.0]");
  EXPECT_THAT(Values<std::int64_t>(sample.inputs[0]), ElementsAre(3, 1000, 0, 0));
}

TEST(TensorJsonTest, BoolTakesTrueFalseZeroAndOne) {
  const Sample sample = Prepared(*TensorHandlerFor({"x:bool:[4]"}), "[true, false, 0, 1]");
  EXPECT_THAT(Values<std::uint8_t>(sample.inputs[0]), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(Values<std::uint8_t>(Prepared(*TensorHandlerFor({"x:bool:[]"}), "true").inputs[0]),
              ElementsAre(1));
}

TEST(TensorJsonTest, FloatsKeepSignAndTinyValuesAndLongIntegers) {
  const Sample sample =
      Prepared(*TensorHandlerFor({"x:float32:[4]"}), "[-0, -0.0, 1e-45, 123456789012345678901234567890]");
  const auto values = Values<float>(sample.inputs[0]);
  EXPECT_TRUE(std::signbit(values[0]));
  EXPECT_TRUE(std::signbit(values[1]));
  EXPECT_EQ(values[2], std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(values[3], 1.2345679e29F);
  EXPECT_THAT(Values<double>(
                  Prepared(*TensorHandlerFor({"x:float64:[2]"}), "[0.1, 1.7976931348623157e308]").inputs[0]),
              ElementsAre(0.1, std::numeric_limits<double>::max()));
}

TEST(TensorJsonTest, HalfTypesRoundToNearestEven) {
  // 2049 and 2051 lie between two halves (steps of 2); 257 and 259 between two bfloat16 (steps of 2).
  const Sample half = Prepared(*TensorHandlerFor({"x:float16:[3]"}), "[2049, 2051, 65519]");
  const auto halves = Values<std::uint16_t>(half.inputs[0]);
  EXPECT_EQ(FloatFromHalf(halves[0]), 2048);
  EXPECT_EQ(FloatFromHalf(halves[1]), 2052);
  EXPECT_EQ(FloatFromHalf(halves[2]), 65504);
  const Sample brain = Prepared(*TensorHandlerFor({"x:bfloat16:[2]"}), "[257, 259]");
  const auto brains = Values<std::uint16_t>(brain.inputs[0]);
  EXPECT_EQ(FloatFromBFloat16(brains[0]), 256);
  EXPECT_EQ(FloatFromBFloat16(brains[1]), 260);
}

TEST(TensorJsonTest, ManyRowsGrowTheTensor) {
  std::string body = "[";
  for (int i = 0; i < 10'000; ++i) body += (i > 0 ? ",[" : "[") + std::to_string(i) + ",1]";
  body += "]";
  const Sample sample = Prepared(*TensorHandlerFor({"x:int32:[2]"}), body);
  ASSERT_THAT(sample.inputs[0].shape, ElementsAre(10'000, 2));
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(sample.inputs[0].as<std::int32_t>()[2 * i], i);
}

TEST(TensorJsonTest, TheDensestTextStillFits) {
  std::string body = "[0";
  for (int i = 1; i < 5000; ++i) body += ",1";
  body += "]";
  EXPECT_THAT(Prepared(*TensorHandlerFor({"x:int64:[-1]"}), body).inputs[0].shape, ElementsAre(1, 5000));
  EXPECT_THAT(Prepared(*TensorHandlerFor({"x:int64:[]"}), body).inputs[0].shape, ElementsAre(5000));
}

TEST(TensorJsonTest, SamplesShareABatchOnlyWhenTypesAndRowsAreAlike) {
  const auto free = TensorHandlerFor({"x:float32:[-1]"});
  const auto key = [](const Handler& handler, std::string_view body) {
    return Prepared(handler, body).shape_key;
  };
  EXPECT_EQ(key(*free, "[1,2]"), key(*free, "[[3,4],[5,6],[7,8]]"));
  EXPECT_EQ(key(*free, "[1,2]"), key(*free, R"({"instances": [[3,4]]})"));
  EXPECT_NE(key(*free, "[1,2]"), key(*free, "[1,2,3]"));
  EXPECT_NE(key(*free, "[1,2]"), key(*TensorHandlerFor({"x:int64:[-1]"}), "[1,2]"));
  EXPECT_NE(key(*TensorHandlerFor({}), "[[1,2]]"), key(*TensorHandlerFor({}), "[1,2]"));
}

TEST(TensorJsonTest, SyntheticSampleIsARowThatHidesNoDifference) {
  const auto sample = TensorHandlerFor({"ids:int64:[-1]", "x:float16:[2,3]", "m:bool:[]"})->SyntheticSample();
  ASSERT_TRUE(sample);
  EXPECT_EQ(sample->rows, 1);
  EXPECT_THAT(sample->inputs[0].shape, ElementsAre(1, 8));
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[0]), testing::Each(1));
  EXPECT_THAT(sample->inputs[1].shape, ElementsAre(1, 2, 3));
  EXPECT_EQ(FloatFromHalf(sample->inputs[1].as<std::uint16_t>()[0]), 1);
  EXPECT_EQ(FloatFromHalf(sample->inputs[1].as<std::uint16_t>()[1]), 0.5F);
  EXPECT_THAT(sample->inputs[2].shape, ElementsAre(1));
  EXPECT_EQ(sample->shape_key, ShapeKey(sample->inputs));
}

TEST(TensorJsonTest, ThereIsNoSyntheticSampleWithoutADeclarationOrBeyondMemory) {
  EXPECT_THAT(TensorHandlerFor({})->SyntheticSample().error().message,
              testing::HasSubstr("declares no inputs"));
  const auto huge =
      TensorHandlerFor(TensorSpec{"x", DType::kFloat32, {std::int64_t{1} << 62, 4}})->SyntheticSample();
  ASSERT_FALSE(huge);
  EXPECT_THAT(huge.error().message, testing::HasSubstr("too large"));
}

}  // namespace
}  // namespace serve
