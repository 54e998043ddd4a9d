#include "handlers/image/image_input.h"

#include <png.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "handlers/image/base64.h"
#include "tests/handlers/image/pictures.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const TensorSpec kTensor{"data", DType::kFloat32, {-1, -1, -1}};

std::string Dot() { return MakePng(1, 1, {PNG_COLOR_TYPE_RGB}, {1, 2, 3}); }

std::string Error(Request request, const ImageLimits& limits = {}) {
  const auto sample = ReadImages(std::move(request), limits, kTensor);
  if (sample) return "no error";
  EXPECT_EQ(sample.error().code, Code::kInvalidArgument);
  return sample.error().message;
}

std::string_view BytesOf(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data.get()), tensor.bytes()};
}

TEST(ImageInputTest, ARawBodyIsTakenOverWhateverItsTypeSays) {
  for (const std::string_view type : {"image/png", "application/octet-stream", "", "text/plain"}) {
    Request request = RawRequest(Dot(), type);
    const char* memory = request.body.data();
    const auto sample = ReadImages(std::move(request), {}, kTensor);
    ASSERT_TRUE(sample) << sample.error().message;
    ASSERT_TRUE(IsEncoded(*sample));
    EXPECT_EQ(BytesOf(sample->inputs[0]), Dot());
    EXPECT_EQ(BytesOf(sample->inputs[0]).data(), memory);
  }
}

TEST(ImageInputTest, APartOfAFormIsReadInItsPlace) {
  const auto sample = ReadImages(FormRequest(Dot(), "image/png"), {}, kTensor);
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_EQ(BytesOf(sample->inputs[0]), Dot());
}

TEST(ImageInputTest, Base64ComesAsTextAndInJson) {
  const std::string text = ToBase64(Dot());
  const std::string quoted = '"' + text + '"';
  for (const std::string& body : {text, "data:image/png;base64," + text, quoted, "{\"data\": " + quoted + "}",
                                  "{\"body\": " + quoted + "}", "{\"image\": {\"b64\": " + quoted + "}}"}) {
    const auto sample =
        ReadImages(RawRequest(body, body[0] == '{' ? "application/json" : "text/plain"), {}, kTensor);
    ASSERT_TRUE(sample) << sample.error().message << " for " << body;
    EXPECT_EQ(BytesOf(sample->inputs[0]), Dot()) << body;
    EXPECT_TRUE(sample->hint.single_row);
  }
}

TEST(ImageInputTest, SeveralPicturesAreRowsOfOneRequest) {
  const std::string one = '"' + ToBase64(Dot()) + '"';
  const auto list = ReadImages(RawRequest("[" + one + ", {\"data\": " + one + "}]"), {}, kTensor);
  ASSERT_TRUE(list) << list.error().message;
  EXPECT_EQ(list->rows, 2);
  EXPECT_EQ(list->inputs.size(), 2U);
  EXPECT_FALSE(list->hint.single_row);
  const auto instances = ReadImages(RawRequest("{\"instances\": [{\"data\": " + one + "}]}"), {}, kTensor);
  ASSERT_TRUE(instances) << instances.error().message;
  EXPECT_TRUE(instances->hint.instances);
  EXPECT_EQ(instances->rows, 1);
}

TEST(ImageInputTest, ListsOfNumbersAreTensors) {
  const auto one = ReadImages(RawRequest("[[[0.5, 1]], [[2, 3]], [[4, 5]]]"), {}, kTensor);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_FALSE(IsEncoded(*one));
  EXPECT_THAT(one->inputs[0].shape, ElementsAre(1, 3, 1, 2));
  EXPECT_THAT(Values<float>(one->inputs[0]), ElementsAre(0.5, 1, 2, 3, 4, 5));
  for (const std::string_view body :
       {"{\"instances\": [[[[1]], [[2]], [[3]]], [[[4]], [[5]], [[6]]]]}",
        "{\"instances\": [{\"data\": [[[1]], [[2]], [[3]]]}, {\"data\": [[[4]], [[5]], [[6]]]}]}"}) {
    const auto two = ReadImages(RawRequest(body), {}, kTensor);
    ASSERT_TRUE(two) << two.error().message;
    EXPECT_THAT(two->inputs[0].shape, ElementsAre(2, 3, 1, 1));
    EXPECT_TRUE(two->hint.instances);
  }
}

TEST(ImageInputTest, ABombIsRefusedByItsHeaderAlone) {
  std::string png = Dot();
  for (const std::size_t side : {16U, 20U}) png.replace(side, 4, std::string("\x00\x00\xff\xff", 4));
  EXPECT_THAT(
      Error(RawRequest(png, "image/png")),
      HasSubstr("65535 x 65535 pixels, allowed are 89478485 pixels in one request (max_image_pixels)"));
  for (const std::size_t side : {16U, 20U}) png.replace(side, 4, "\x7f\xff\xff\xff");
  EXPECT_THAT(Error(RawRequest(png, "image/png")), HasSubstr("allowed are"));
  for (const std::size_t side : {16U, 20U}) png.replace(side, 4, "\xff\xff\xff\xff");
  EXPECT_THAT(Error(RawRequest(png, "image/png")), HasSubstr("its size is out of range"));
}

TEST(ImageInputTest, ThePixelsOfARequestCountTogether) {
  const std::string one = '"' + ToBase64(MakePng(2, 2, {PNG_COLOR_TYPE_GRAY}, {1, 2, 3, 4})) + '"';
  const std::string two = "[" + one + "," + one + "]";
  EXPECT_TRUE(ReadImages(RawRequest(two), {8, 2}, kTensor));
  EXPECT_TRUE(ReadImages(RawRequest(two), {0, 2}, kTensor));
  EXPECT_THAT(Error(RawRequest(two), {7, 2}), HasSubstr("body[1]: the picture has 2 x 2 pixels, more with"));
  EXPECT_THAT(Error(RawRequest(two), {8, 1}), HasSubstr("2 pictures, allowed are 1"));
}

TEST(ImageInputTest, BadInputIsNamedWithItsPlace) {
  EXPECT_THAT(Error(RawRequest("")), HasSubstr("the request brings no picture"));
  EXPECT_THAT(Error(RawRequest("GIF89a...............", "image/gif")), HasSubstr("body: a GIF picture"));
  EXPECT_THAT(Error(RawRequest("what?! is <this>", "text/plain")), HasSubstr("is no picture"));
  EXPECT_THAT(Error(RawRequest("{\"instances\": [\"aGVsbG8=\"]}")),
              HasSubstr("instances[0]: the data is no picture"));
  EXPECT_THAT(Error(RawRequest("{\"instances\": [{\"data\": \"a*b\"}]}")),
              HasSubstr("instances[0].data: invalid base64: character 1"));
  EXPECT_THAT(Error(RawRequest("{\"instances\": []}")), HasSubstr("at least one picture"));
  EXPECT_THAT(Error(RawRequest("{\"instances\": 5}")), HasSubstr("instances: expected an array"));
  EXPECT_THAT(Error(RawRequest("{\"other\": 5}")), HasSubstr("under \"data\""));
  EXPECT_THAT(Error(RawRequest("{\"data\": ")), HasSubstr("invalid JSON"));
  EXPECT_THAT(Error(RawRequest("[[[1, 2], [3]]]")), HasSubstr("body"));
}

TEST(ImageInputTest, JsonThatIsCutAnywhereIsAnErrorAndNoCrash) {
  const std::string dot = ToBase64(Dot());
  for (const std::string& whole :
       {"{\"instances\": [{\"data\": \"" + dot + "\"}]}", "{\"data\": \"" + dot + "\"}", "[\"" + dot + "\"]",
        std::string("{\"instances\": [{\"data\": [[[1.5]], [[2]], [[3]]]}]}")}) {
    EXPECT_TRUE(ReadImages(RawRequest(whole), {}, kTensor)) << whole;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(ReadImages(RawRequest(whole.substr(0, size)), {}, kTensor)) << whole.substr(0, size);
    }
  }
}

TEST(Base64Test, BlanksAndMissingPaddingAreTaken) {
  for (const std::string_view text : {"aGVsbG8h", "aGVs\r\nbG8h\n", "a GVsb G8h"}) {
    const auto bytes = DecodeBase64(text);
    ASSERT_TRUE(bytes) << text;
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes->data.get()), bytes->size), "hello!");
  }
  for (const std::string_view text : {"aGVsbG8=", "aGVsbG8", "aGVsbG8=\n"}) {
    const auto bytes = DecodeBase64(text);
    ASSERT_TRUE(bytes) << text;
    EXPECT_EQ(bytes->size, 5U);
  }
  EXPECT_EQ(DecodeBase64("_-8=")->data.get()[0], std::byte{0xff});
}

TEST(Base64Test, WhatIsNoneIsRefusedWithItsPlace) {
  EXPECT_THAT(DecodeBase64("aGVs$").error().message, HasSubstr("character 4"));
  EXPECT_THAT(DecodeBase64("aGVsb").error().message, HasSubstr("cut off"));
  EXPECT_THAT(DecodeBase64("aGV=sbG8h").error().message, HasSubstr("follows the padding at character 3"));
}

}  // namespace
}  // namespace serve
