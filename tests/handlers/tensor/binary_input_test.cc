#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr std::string_view kBinary = "application/octet-stream";

template <class T>
std::string Bytes(std::initializer_list<T> values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), std::data(values), bytes.size());
  return bytes;
}

std::string ErrorOf(const Handler& handler, std::string_view body) {
  const auto sample = handler.Prepare(RawRequest(body, kBinary));
  if (sample) return "no error";
  EXPECT_EQ(sample.error().code, Code::kInvalidArgument);
  return sample.error().message;
}

TEST(TensorBinaryTest, ARowTakesTheBodysMemoryOver) {
  Request request = RawRequest(Bytes<float>({1, 2, 3}), kBinary);
  const char* const memory = request.body.data();
  const auto sample = TensorHandlerFor({"x:float32:[3]"})->Prepare(std::move(request));
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_THAT(sample->inputs[0].shape, ElementsAre(1, 3));
  EXPECT_THAT(Values<float>(sample->inputs[0]), ElementsAre(1, 2, 3));
  EXPECT_EQ(reinterpret_cast<const char*>(sample->inputs[0].data.get()), memory);
  EXPECT_TRUE(sample->hint.single_row);
}

TEST(TensorBinaryTest, AMultipleOfARowIsSeveralRows) {
  const auto sample = TensorHandlerFor({"x:int16:[2]"})
                          ->Prepare(RawRequest(Bytes<std::int16_t>({1, 2, 3, 4, 5, 6}), kBinary));
  ASSERT_TRUE(sample);
  EXPECT_THAT(sample->inputs[0].shape, ElementsAre(3, 2));
  EXPECT_EQ(sample->rows, 3);
  EXPECT_FALSE(sample->hint.single_row);
}

TEST(TensorBinaryTest, OneFreeDimensionFollowsFromTheSize) {
  const auto sample =
      TensorHandlerFor({"x:float64:[2,-1]"})->Prepare(RawRequest(Bytes<double>({1, 2, 3, 4, 5, 6}), kBinary));
  ASSERT_TRUE(sample);
  EXPECT_THAT(sample->inputs[0].shape, ElementsAre(1, 2, 3));
  EXPECT_EQ(sample->rows, 1);
}

TEST(TensorBinaryTest, AFormPartIsCopied) {
  const auto sample = TensorHandlerFor({"x:uint8:[3]"})->Prepare(FormRequest("abc", kBinary));
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_THAT(Values<std::uint8_t>(sample->inputs[0]), ElementsAre('a', 'b', 'c'));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(sample->inputs[0].data.get()) % Buffer::kAlignment, 0U);
}

TEST(TensorBinaryTest, UnknownTypesAndBytesWithoutATypeAreBinary) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"});
  const std::string bytes = Bytes<float>({1, 2});
  EXPECT_TRUE(handler->Prepare(RawRequest(bytes, "image/jpeg")));
  EXPECT_TRUE(handler->Prepare(RawRequest(bytes, "APPLICATION/OCTET-STREAM")));
  EXPECT_TRUE(handler->Prepare(RawRequest(bytes, "")));
  EXPECT_FALSE(handler->Prepare(RawRequest(bytes, "application/json")));
}

TEST(TensorBinaryTest, AWrongSizeNamesExpectedAndSeenBytes) {
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[3]"}), "12345678901234567"),
            "input \"x\" (float32 [3]): expected a multiple of 12 bytes, got 17");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:int64:[2,-1]"}), "12345678"),
            "input \"x\" (int64 [2, -1]): expected a multiple of 16 bytes, got 8");
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[3]"}), "[1, 2, 3]"),
            "input \"x\" (float32 [3]): expected a multiple of 12 bytes, got 9; if the body is JSON, send "
            "Content-Type: application/json");
  EXPECT_EQ(
      ErrorOf(*TensorHandlerFor(TensorSpec{"x", DType::kFloat32, {std::int64_t{1} << 62, 4}}), "1234"),
      "input \"x\" (float32 [4611686018427387904, 4]): expected a multiple of more than 2^62 bytes, got 4");
  EXPECT_THAT(ErrorOf(*TensorHandlerFor(TensorSpec{"x", DType::kFloat32, {0, 3}}), "1234"),
              StartsWith("input \"x\" (float32 [0, 3]): expected a multiple of 0 bytes"));
  EXPECT_THAT(ErrorOf(*TensorHandlerFor({"x:float32:[3]"}), ""), StartsWith("the body is empty"));
}

TEST(TensorBinaryTest, BytesWithoutOneClearMeaningAreRefused) {
  EXPECT_THAT(
      ErrorOf(*TensorHandlerFor({}), "1234"),
      StartsWith("binary input needs a declared input: pack the archive with --input name:dtype:[shape]"));
  EXPECT_EQ(ErrorOf(*TensorHandlerFor({"x:float32:[1]", "y:float32:[1]"}), "1234"),
            "binary input can bring one input, the model declares 2; send JSON");
  EXPECT_EQ(
      ErrorOf(*TensorHandlerFor({"x:float32:[-1,-1]"}), "1234"),
      "input \"x\" has 2 free dimensions ([-1, -1]); raw bytes can give the size of one only: send JSON");
}

TEST(TensorBinaryTest, ABoolIsZeroOrOne) {
  const auto handler = TensorHandlerFor({"x:bool:[3]"});
  EXPECT_EQ(ErrorOf(*handler, std::string("\x01\x00\x01", 3)), "no error");
  EXPECT_EQ(ErrorOf(*handler, std::string("\x01\x00\xff", 3)),
            "input \"x\": byte 2 is 255; a bool is the byte 0 or 1");
}

}  // namespace
}  // namespace serve
