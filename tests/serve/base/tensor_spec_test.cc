#include "serve/base/tensor_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const Result<TensorSpec> spec = ParseTensorSpec(text);
  if (spec) return "no error";
  EXPECT_EQ(spec.error().code, Code::kInvalidArgument);
  return spec.error().message;
}

TEST(DTypeTest, EveryNameIsReadBackAsItself) {
  for (int i = 0; i <= static_cast<int>(DType::kBool); ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(ParseDType(DTypeName(dtype)), dtype) << DTypeName(dtype);
  }
}

TEST(DTypeTest, SizesAreThoseOfTheElements) {
  EXPECT_EQ(DTypeSize(DType::kFloat64), 8u);
  EXPECT_EQ(DTypeSize(DType::kBFloat16), 2u);
  EXPECT_EQ(DTypeSize(DType::kInt32), 4u);
  EXPECT_EQ(DTypeSize(DType::kBool), 1u);
}

TEST(TensorSpecTest, ReadsNameTypeAndShape) {
  const Result<TensorSpec> spec = ParseTensorSpec("image:float32:[3, 224,-1]");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(*spec, (TensorSpec{"image", DType::kFloat32, {3, 224, -1}}));
}

TEST(TensorSpecTest, BracketsAreOptionalAndBlanksAreIgnored) {
  const Result<TensorSpec> spec = ParseTensorSpec(" ids : int64 : 7 , 2 ");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(*spec, (TensorSpec{"ids", DType::kInt64, {7, 2}}));
}

TEST(TensorSpecTest, EmptyBracketsAreOneNumberARow) {
  const Result<TensorSpec> spec = ParseTensorSpec("label:int64:[]");
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_TRUE(spec->shape.empty());
}

TEST(TensorSpecTest, TextIsReadBackAsTheSameSpec) {
  const TensorSpec spec{"x", DType::kBFloat16, {3, -1}};
  EXPECT_EQ(SpecText(spec), "x:bfloat16:[3, -1]");
  EXPECT_EQ(*ParseTensorSpec(SpecText(spec)), spec);
  EXPECT_EQ(ShapeText({}), "[]");
}

TEST(TensorSpecTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(ErrorOf("ids"), HasSubstr("three parts"));
  EXPECT_THAT(ErrorOf("ids:int64"), HasSubstr("three parts"));
  EXPECT_THAT(ErrorOf(":int64:[1]"), HasSubstr("name is empty"));
  EXPECT_THAT(ErrorOf("ids:long:[1]"), AllOf(HasSubstr("'long' is no dtype"), HasSubstr("int64")));
  EXPECT_THAT(ErrorOf("ids:int64:[1"), HasSubstr("bracket"));
  EXPECT_THAT(ErrorOf("ids:int64:1]"), HasSubstr("bracket"));
  EXPECT_THAT(ErrorOf("ids:int64:["), HasSubstr("bracket"));
  EXPECT_THAT(ErrorOf("ids:int64:"), HasSubstr("shape is empty"));
  EXPECT_THAT(ErrorOf("ids:int64:[1,,2]"), HasSubstr("'' is no size"));
  EXPECT_THAT(ErrorOf("ids:int64:[1,]"), HasSubstr("'' is no size"));
  EXPECT_THAT(ErrorOf("ids:int64:[0]"), HasSubstr("'0' is no size"));
  EXPECT_THAT(ErrorOf("ids:int64:[-2]"), HasSubstr("'-2' is no size"));
  EXPECT_THAT(ErrorOf("ids:int64:[3x]"), HasSubstr("'3x' is no size"));
  EXPECT_THAT(ErrorOf("ids:int64:[3:4]"), HasSubstr("'3:4' is no size"));
}

TEST(BatchRangeTest, ARangeAndOneNumberAreReadAndWrittenBack) {
  EXPECT_EQ(*ParseBatchRange("1..64"), (BatchRange{1, 64}));
  EXPECT_EQ(*ParseBatchRange("8"), (BatchRange{8, 8}));
  for (const std::string text : {"1..64", "8", "100000"}) EXPECT_EQ(BatchText(*ParseBatchRange(text)), text);
  EXPECT_FALSE(BatchRange{}.declared());
}

TEST(BatchRangeTest, WhatIsNoRangeIsRefused) {
  for (const char* text : {"", "0", "0..4", "5..4", "-1..4", "..", "1..", "..4", "1..2..3", "1...4", "1-4",
                           "1..4 ", "x", "100001", "99999999999999999999"}) {
    const Result<BatchRange> range = ParseBatchRange(text);
    ASSERT_FALSE(range) << text;
    EXPECT_THAT(range.error().message, HasSubstr("is no range of batch sizes"));
  }
}

TEST(TensorSpecTest, ShapesThatOverflowAreRefused) {
  EXPECT_THAT(ErrorOf("x:float32:[4611686018427387904,4]"), HasSubstr("more than"));
  EXPECT_THAT(ErrorOf("x:float32:[65536,65537]"), HasSubstr("more than"));
  EXPECT_THAT(ErrorOf("x:float32:[99999999999999999999]"), HasSubstr("is no size"));
  EXPECT_THAT(ErrorOf("x:float32:1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), HasSubstr("17 dimensions"));
}

}  // namespace
}  // namespace serve
