#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(const Handler& handler, std::string_view body,
                    std::string_view type = "application/json") {
  const Result<Sample> sample = handler.Prepare(RawRequest(body, type));
  if (sample) return "no error";
  EXPECT_EQ(sample.error().code, Code::kInvalidArgument) << body;
  EXPECT_LE(sample.error().message.size(), 300U) << body;
  return sample.error().message;
}

class TensorJsonErrorTest : public testing::Test {
 protected:
  std::string Error(std::string_view body) const { return ErrorOf(*handler_, body); }

  const std::unique_ptr<Handler> handler_ = TensorHandlerFor({"x:float32:[3]"});
  const std::unique_ptr<Handler> two_ = TensorHandlerFor({"x:float32:[2]", "mask:bool:[]"});
};

TEST_F(TensorJsonErrorTest, AWrongElementIsNamedWithItsIndices) {
  EXPECT_EQ(Error(R"({"instances": [[1,2,3],[4,5,6],[7,8,"9"]]})"),
            "instances[2][2]: expected a number, found a string");
  EXPECT_EQ(Error("[1,null,3]"), "body[1]: expected a number, found null");
  EXPECT_EQ(Error("[[1,2,3],[4,true,6]]"), "body[1][1]: expected a number, found a boolean");
  EXPECT_EQ(Error("[1,{},3]"), "body[1]: expected a number, found an object");
  EXPECT_EQ(Error("[1,[2],3]"), "body[1]: expected a number, found an array");
  EXPECT_EQ(Error("[[1,2,3],4]"), "body[1]: expected an array, found a number");
  EXPECT_EQ(Error(R"({"x": [1,2,"3"]})"), "x[2]: expected a number, found a string");
  EXPECT_EQ(Error(R"({"instances": [{"x": [1,2,"3"]}]})"),
            "instances[0].x[2]: expected a number, found a string");
  EXPECT_EQ(Error(R"({"instances": [[1,2,3], 4]})"), "instances[1]: expected an array, found a number");
}

TEST_F(TensorJsonErrorTest, AWrongShapeNamesBothShapes) {
  EXPECT_EQ(Error("[1,2]"), "input \"x\": expected shape [3], got [2]");
  EXPECT_EQ(Error("[1,2,3,4,5]"), "input \"x\": expected shape [3], got [5]");
  EXPECT_EQ(Error("[]"), "input \"x\": expected shape [3], got [0]");
  EXPECT_EQ(Error("[[1,2,3],[1,2,3],[1,2]]"), "input \"x\": expected shape [3], got [2] at row 2");
  EXPECT_EQ(Error(R"({"instances": [[1,2,3],[1,2,3,4]]})"),
            "input \"x\": expected shape [3], got [4] at row 1");
  const auto deep = TensorHandlerFor({"x:float32:[2,3]"});
  EXPECT_EQ(ErrorOf(*deep, "[[1,2,3],[1,2]]"), "input \"x\": expected shape [2, 3], got [2, 2] at body[1]");
  EXPECT_EQ(ErrorOf(*deep, "[[1,2,3],[1,2,3],[[]]]"), "input \"x\": expected shape [2, 3], got [3, 3]");
  EXPECT_EQ(ErrorOf(*deep, "[[[1,2,3],[1,2,3]],[[1,2,3]]]"),
            "input \"x\": expected shape [2, 3], got [1, 3] at row 1");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[2,-1]"}), "[[1,2,3]]"),
            "input \"x\": expected shape [2, -1], got [1, 3]");
}

TEST_F(TensorJsonErrorTest, AWrongNestingSaysHowDeepItShouldBe) {
  EXPECT_EQ(Error("[[[1,2,3]]]"),
            "body: input \"x\": expected an array 1 deep (one row of shape [3]) or 2 deep (several rows), "
            "found one 3 "
            "deep");
  EXPECT_EQ(Error("5"),
            "body: expected an array 1 deep (one row of shape [3]) or 2 deep (several rows), found a number");
  EXPECT_EQ(Error("\"hello\""),
            "body: expected an array 1 deep (one row of shape [3]) or 2 deep (several rows), found a string");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[]"}), "[[1]]"),
            "body: input \"x\": expected a number (one row) or an array of numbers (several rows), found one "
            "2 deep");
}

TEST_F(TensorJsonErrorTest, RaggedArraysAreRefused) {
  const auto free = TensorHandlerFor({"x:float32:[-1]"});
  EXPECT_EQ(ErrorOf(*free, "[[1,2],[3]]"),
            "input \"x\": ragged array: body[1] has 1 elements, the arrays before it have 2");
  EXPECT_EQ(ErrorOf(*free, R"({"instances": [[1,2],[3,4,5]]})"),
            "input \"x\": ragged array: instances[1] has 3 elements, the arrays before it have 2");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}), "[[1,2],[3]]"),
            "the input: ragged array: body[1] has 1 elements, the arrays before it have 2");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}), "[[1,2],3]"), "body[1]: expected an array, found a number");
}

TEST_F(TensorJsonErrorTest, NoRowsAreRefused) {
  EXPECT_EQ(Error(R"({"instances": []})"), "instances: expected at least one row, found an empty array");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[]"}), "[]"),
            "body: expected at least one row, found an empty array");
  EXPECT_EQ(Error(R"({"instances": 3})"), "instances: expected an array of rows, found a number");
}

TEST_F(TensorJsonErrorTest, NamesAreChecked) {
  EXPECT_EQ(Error("{}"), "body: input \"x\" is missing; the inputs are x");
  EXPECT_EQ(Error(R"({"y": [1]})"), "body: unknown name \"y\"; the inputs are x");
  EXPECT_EQ(Error(R"({"x": [1,2,3], "x": [1,2,3]})"), "body: input \"x\" comes twice");
  EXPECT_EQ(Error(R"({"instances": [[1,2,3]], "instances": []})"),
            "body: \"instances\" next to \"instances\"; send \"instances\" alone");
  EXPECT_EQ(Error(R"({"instances": [[1,2,3]], "x": [1,2,3]})"),
            "body: \"x\" next to \"instances\"; send \"instances\" alone");
  EXPECT_EQ(Error(R"({"x": [1,2,3], "instances": [[1,2,3]]})"),
            "body: unknown name \"instances\"; the inputs are x");
  EXPECT_EQ(ErrorOf(*two_, R"({"x": [1,2]})"), "body: input \"mask\" is missing; the inputs are x, mask");
  EXPECT_EQ(ErrorOf(*two_, R"({"instances": [{"x": [1,2], "mask": true}, {"mask": true}]})"),
            "instances[1]: input \"x\" is missing; the inputs are x, mask");
  EXPECT_EQ(ErrorOf(*two_, R"({"instances": [{"x": [1,2], "x": [1,2]}]})"),
            "instances[0]: input \"x\" comes twice");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}), R"({"inputs": [1]})"),
            "body: unknown name \"inputs\"; the model declares no inputs: send a nested array of numbers or "
            "{\"instances\": [...]}");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}), "{}"),
            "body: expected a nested array of numbers, found an empty object");
}

TEST_F(TensorJsonErrorTest, SeveralInputsNeedAnObject) {
  EXPECT_EQ(ErrorOf(*two_, "[1,2]"),
            "body: expected an object with the inputs x, mask, or {\"instances\": [...]} with a list of such "
            "objects, "
            "found an array");
  EXPECT_EQ(ErrorOf(*two_, R"({"instances": [[1,2]]})"),
            "instances[0]: expected an object with the inputs x, mask, found an array");
  EXPECT_EQ(
      ErrorOf(*two_, R"({"x": [[1,2],[3,4]], "mask": [true]})"),
      "body: input \"x\" brings a list of 2 rows, input \"mask\" a list of 1 rows; all must bring the same");
  EXPECT_EQ(ErrorOf(*two_, R"({"x": [[1,2]], "mask": true})"),
            "body: input \"x\" brings a list of 1 rows, input \"mask\" one row, not in a list; all must "
            "bring the same");
}

TEST_F(TensorJsonErrorTest, AnEmptyBodySaysWhatToSend) {
  const std::string expected = "the body is empty; send a nested array of numbers or {\"instances\": [...]}";
  EXPECT_EQ(Error(""), expected);
  EXPECT_EQ(Error(" \n\t "), expected);
  EXPECT_EQ(Error("\xef\xbb\xbf"), expected);
  EXPECT_EQ(ErrorOf(*handler_, "", ""), expected);
}

TEST_F(TensorJsonErrorTest, ARequestWithoutInputSaysHowToSendOne) {
  Request request;
  const auto sample = handler_->Prepare(std::move(request));
  ASSERT_FALSE(sample);
  EXPECT_THAT(sample.error().message, StartsWith("the request brings no input: send the tensor as the body"));
}

TEST_F(TensorJsonErrorTest, NotANumberIsNoJsonNumber) {
  EXPECT_EQ(
      Error("[1,NaN,3]"),
      "body[1]: NaN is no JSON number; send a finite number, or the tensor as application/octet-stream");
  EXPECT_THAT(Error("[1,2,Infinity]"), StartsWith("body[2]: Infinity is no JSON number"));
  EXPECT_THAT(Error("[1,2,-Infinity]"), StartsWith("body[2]: -Infinity is no JSON number"));
  EXPECT_THAT(Error("[nan,2,3]"), StartsWith("body[0]: nan is no JSON number"));
  EXPECT_THAT(Error("NaN"), StartsWith("body: NaN is no JSON number"));
  EXPECT_THAT(ErrorOf(*TensorHandlerFor({"x:int64:[1]"}), "[NaN]"),
              StartsWith("body[0]: NaN is no JSON number"));
}

TEST_F(TensorJsonErrorTest, NumbersThatTheTypeCannotHoldAreRefused) {
  EXPECT_EQ(Error("[1,2,1e999]"), "body[2]: 1e999 is out of range for float32");
  EXPECT_EQ(Error("[1,1e39,2]"), "body[1]: 1e39 is out of range for float32");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float64:[1]"}), "[-1e999]"),
            "body[0]: -1e999 is out of range for float64");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float64:[]"}), "1e999"), "body: 1e999 is out of range for float64");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float16:[1]"}), "[65520]"),
            "body[0]: 65520 is out of range for float16");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:bfloat16:[1]"}), "[3.4e38]"),
            "body[0]: 3.4e38 is out of range for bfloat16");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[1]"}), "[9223372036854775808]"),
            "body[0]: 9223372036854775808 is out of range for int64");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[1]"}), "[-9223372036854775809]"),
            "body[0]: -9223372036854775809 is out of range for int64");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[1]"}), "[1e300]"),
            "body[0]: 1e300 is out of range for int64");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int32:[2]"}), "[0,2147483648]"),
            "body[1]: 2147483648 is out of range for int32");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int8:[1]"}), "[128]"), "body[0]: 128 is out of range for int8");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:uint8:[1]"}), "[-1]"), "body[0]: -1 is out of range for uint8");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:uint8:[]"}), "256"), "body: 256 is out of range for uint8");
}

TEST_F(TensorJsonErrorTest, IntegersAndBoolsRefuseFractions) {
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[2]"}), "[1,3.5]"),
            "body[1]: expected an integer, found 3.5");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[1]"}), "[true]"),
            "body[0]: expected an integer, found a boolean");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:bool:[2]"}), "[true,2]"),
            "body[1]: expected true, false, 0 or 1, found 2");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:bool:[2]"}), "[0.5,1]"),
            "body[0]: expected true, false, 0 or 1, found 0.5");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:bool:[1]"}), "[\"true\"]"),
            "body[0]: expected true, false, 0 or 1, found a string");
}

TEST_F(TensorJsonErrorTest, BrokenNumbersAreNamedWithTheirByte) {
  EXPECT_EQ(Error("[01,2,3]"), "body[0]: invalid JSON at byte 1: `01` is no JSON number");
  EXPECT_EQ(Error("[1,2.,3]"), "body[1]: invalid JSON at byte 3: `2.` is no JSON number");
  EXPECT_EQ(Error("[1,-,3]"), "body[1]: invalid JSON at byte 3: `-` is no JSON number");
  EXPECT_EQ(Error("[1,2e,3]"), "body[1]: invalid JSON at byte 3: `2e` is no JSON number");
  EXPECT_EQ(Error("[1,0x10,3]"), "body[1]: invalid JSON at byte 3: `0x10` is no JSON number");
  EXPECT_EQ(Error("[1,+2,3]"), "body[1]: invalid JSON at byte 3: expected a number, found `+2`");
  EXPECT_EQ(Error("[1,.5,3]"), "body[1]: invalid JSON at byte 3: expected a number, found `.5`");
  EXPECT_EQ(Error("[1,abc,3]"), "body[1]: invalid JSON at byte 3: expected a number, found `abc`");
  EXPECT_EQ(Error("[1,truth,3]"), "body[1]: invalid JSON at byte 3: expected a number, found `truth`");
}

TEST_F(TensorJsonErrorTest, BrokenStructureIsNamedWithItsByte) {
  EXPECT_EQ(Error("[1,2,]"), "body[2]: invalid JSON at byte 5: expected a number, found `]`");
  EXPECT_EQ(Error("[,1,2]"), "body[0]: invalid JSON at byte 1: expected a number, found `,`");
  for (const std::string_view body : {"[1 2 3]",
                                      "[1,2,3",
                                      "[[1,2,3]",
                                      "[",
                                      "{",
                                      R"({"x")",
                                      R"({"x":)",
                                      R"({"x":[1,2,3])",
                                      R"({"x":[1,2,3],})",
                                      R"({x:[1,2,3]})",
                                      R"({"x" [1,2,3]})",
                                      "[1,2,3}",
                                      "{]",
                                      "[1,2,3]]",
                                      "[1,2,3] x",
                                      "[1,2,3],",
                                      R"({"instances":[[1,2,3]})",
                                      "]",
                                      "}",
                                      ":",
                                      R"({"x":[1,2,3]}})",
                                      R"({"instances":[[1,2,3] [1,2,3]]})",
                                      "hello",
                                      "[1,2,3]]]",
                                      R"(["abc)",
                                      "{\"x\n\": [1,2,3]}",
                                      "'x'",
                                      "// comment\n[1,2,3]"}) {
    EXPECT_THAT(Error(body), HasSubstr("invalid JSON")) << body;
  }
  EXPECT_THAT(Error("[1,2,3] [4]"), StartsWith("invalid JSON at byte 8"));
  EXPECT_THAT(ErrorOf(*TensorHandlerFor({"x:float32:[]"}), "1 2"), StartsWith("invalid JSON at byte 2"));
  EXPECT_THAT(ErrorOf(*TensorHandlerFor({"x:float32:[]"}), "1]"), StartsWith("invalid JSON at byte 1"));
}

TEST_F(TensorJsonErrorTest, InvalidUtf8IsRefused) {
  EXPECT_THAT(Error("{\"x\xff\": [1,2,3]}"), HasSubstr("invalid JSON"));
  EXPECT_THAT(Error("[1,2,3\xc3]"), HasSubstr("invalid JSON"));
  EXPECT_THAT(Error(R"({"\ud800": [1,2,3]})"), HasSubstr("invalid JSON"));
}

TEST_F(TensorJsonErrorTest, DeepNestingIsRefusedWithoutRecursion) {
  for (const std::unique_ptr<Handler>& handler :
       {TensorHandlerFor({}), TensorHandlerFor({"x:float32:[3]"})}) {
    EXPECT_EQ(ErrorOf(*handler, std::string(1'000'000, '[') + std::string(1'000'000, ']')),
              "body: arrays are nested deeper than 32");
  }
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}),
                    "{\"instances\":[" + std::string(100'000, '[') + std::string(100'000, ']') + "]}"),
            "instances[0]: arrays are nested deeper than 32");
  // Deep only after the first element, which set the rank; and deep where elements are only counted.
  EXPECT_THAT(Error("[1," + std::string(100'000, '[') + std::string(100'000, ']') + "]"),
              StartsWith("body[1]: expected a number, found an array"));
  EXPECT_THAT(Error("[1,2,3," + std::string(100'000, '[') + std::string(100'000, ']') + "]"),
              StartsWith("input \"x\": expected shape [3], got [4]"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"x\":";
  EXPECT_THAT(Error(objects + "1" + std::string(100'000, '}')), HasSubstr("found an object"));
  const std::string deepest = std::string(32, '[') + "1" + std::string(32, ']');
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({}), deepest), "no error");
}

TEST_F(TensorJsonErrorTest, LongTextsAreCutAtACharacter) {
  std::string name;
  for (int i = 0; i < 1000; ++i) name += "\u00e4";
  const std::string error = Error("{\"" + name + "\": 1}");
  EXPECT_THAT(error, StartsWith("body: unknown name \"\u00e4\u00e4"));
  EXPECT_THAT(error, HasSubstr("\u00e4...\"; the inputs are x"));
  EXPECT_LE(Error("[" + std::string(5000, '9') + "e99999,1,2]").size(), 300U);
  EXPECT_LE(Error("[" + std::string(5000, 'x') + "]").size(), 300U);
}

TEST_F(TensorJsonErrorTest, ADeclarationLargerThanTheBodyAllocatesNothingOfItsSize) {
  EXPECT_THAT(
      ErrorOf(*TensorHandlerFor(TensorSpec{"x", DType::kFloat32, {std::int64_t{1} << 62, 4}}), "[[1,2,3,4]]"),
      HasSubstr("got [1, 4]"));
  EXPECT_THAT(ErrorOf(*TensorHandlerFor(TensorSpec{"x", DType::kInt64, {std::int64_t{1} << 40}}), "[1,2]"),
              HasSubstr("got [2]"));
}

}  // namespace
}  // namespace serve
