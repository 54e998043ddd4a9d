// KServe v2 tensors in and out of handlers, without HTTP.
#include <cstdint>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "handlers/infer/infer_reader.h"
#include "handlers/infer/protocol.h"
#include "tests/handlers/tensor/requests.h"

namespace serve {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<InferRequest> Read(const std::string& text) {
  const Buffer padded(text);
  return ReadInferRequest(padded.view());
}

std::string Input(const std::string& datatype, const std::string& shape, const std::string& data) {
  return R"({"inputs": [{"name": "x", "datatype": ")" + datatype + R"(", "shape": )" + shape +
         R"(, "data": )" + data + "}]}";
}

TEST(InferReaderTest, EveryDatatypeIsReadAsItself) {
  const auto read = [](const std::string& datatype, const std::string& data) {
    Result<InferRequest> request = Read(Input(datatype, "[2]", data));
    return request ? std::move(request->inputs[0]) : InferTensor{request.error().message, {}, {}, {}, {}};
  };
  EXPECT_THAT(Values<float>(read("FP32", "[1, 2.5]").numbers), ElementsAre(1, 2.5F));
  EXPECT_THAT(Values<double>(read("FP64", "[0.1, 1e300]").numbers), ElementsAre(0.1, 1e300));
  EXPECT_THAT(
      Values<std::int64_t>(read("INT64", "[9223372036854775807, -9223372036854775808]").numbers),
      ElementsAre(std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()));
  EXPECT_THAT(Values<std::int32_t>(read("INT32", "[1, -2]").numbers), ElementsAre(1, -2));
  EXPECT_THAT(Values<std::int16_t>(read("INT16", "[1, -2]").numbers), ElementsAre(1, -2));
  EXPECT_THAT(Values<std::int8_t>(read("INT8", "[1, -2]").numbers), ElementsAre(1, -2));
  EXPECT_THAT(Values<std::uint8_t>(read("UINT8", "[1, 255]").numbers), ElementsAre(1, 255));
  EXPECT_THAT(Values<std::uint8_t>(read("BOOL", "[true, 0]").numbers), ElementsAre(1, 0));
  EXPECT_THAT(Values<std::uint16_t>(read("FP16", "[1, 2]").numbers), ElementsAre(0x3c00, 0x4000));
  EXPECT_THAT(read("BYTES", R"(["a\u00e9", ["\"b"]])").texts, ElementsAre("a\u00e9", "\"b"));
  EXPECT_THAT(read("INT8", "[1, 128]").name, HasSubstr("data[1]: 128 is out of range for int8"));
}

TEST(InferReaderTest, AnInnerDimensionOfZeroHasNoElements) {
  const auto request = Read(Input("FP32", "[2, 0]", "[[], []]"));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(request->inputs[0].numbers.shape, ElementsAre(2, 0));
  EXPECT_FALSE(Read(Input("FP32", "[2, 0]", "[1]")));
}

TEST(InferReaderTest, MembersInsideOthersAreNotTakenForItsOwn) {
  const auto request = Read(
      R"({"parameters": {"inputs": [], "id": "no"}, "inputs": [{"parameters": {"data": [9], "name": "no"}, "name": "x",
          "shape": [1], "datatype": "FP32", "data": [1]}, {"data": [[2]], "name": "y", "datatype": "INT64",
          "shape": [1, 1]}], "outputs": [{"parameters": {"name": "no"}, "name": "q"}], "id": "yes"})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->ask.id, "yes");
  ASSERT_EQ(request->ask.outputs.size(), 1U);
  EXPECT_EQ(request->ask.outputs[0].name, "q");
  ASSERT_EQ(request->inputs.size(), 2u);
  EXPECT_EQ(request->inputs[0].name, "x");
  EXPECT_THAT(Values<float>(request->inputs[0].numbers), ElementsAre(1));
  EXPECT_THAT(request->inputs[1].shape, ElementsAre(1, 1));
}

TEST(InferReaderTest, LongStringsAreReadOnceEach) {
  const std::string name(5000, 'n');
  const std::string text(20'000, 't');
  std::string inputs;
  for (int i = 0; i < 20; ++i) {
    inputs += (i > 0 ? "," : "") + std::string(R"({"name": ")") + name + std::to_string(i) +
              R"(", "datatype": "BYTES", "shape": [1], "data": [")" + text + "\"]}";
  }
  const auto request = Read(R"({"inputs": [)" + inputs + "]}");
  ASSERT_TRUE(request) << request.error().message;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(request->inputs[static_cast<std::size_t>(i)].name, name + std::to_string(i));
    EXPECT_THAT(request->inputs[static_cast<std::size_t>(i)].texts, ElementsAre(text));
  }
}

TEST(InferReaderTest, NoTextBreaksIt) {
  const std::string good =
      R"({"id": "1", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]]}],
          "outputs": [{"name": "y"}]})";
  for (std::size_t i = 0; i <= good.size(); ++i) {
    if (i < good.size()) {
      EXPECT_FALSE(Read(good.substr(0, i))) << i;
    }
    for (const char c : {'[', ']', '{', '}', '"', ',', ':', '1', '\\', '\0', '\xff'}) {
      std::string changed = good;
      if (i < good.size()) changed[i] = c;
      (void)Read(changed);  // must not crash; sanitizers look
      changed.insert(i, 1, c);
      (void)Read(changed);
    }
  }
}

Result<InferRequest> ReadWithRaw(const std::string& text, const std::string& raw) {
  const Buffer padded(text);
  Buffer bytes(raw);
  const std::string_view view = bytes.view();
  return ReadInferRequest(padded.view(), {view, std::move(bytes).Release()});
}

TEST(InferReaderTest, TensorsMayFollowTheJson) {
  const auto request = ReadWithRaw(
      R"({"parameters": {"sequence_id": 7, "sequence_end": true, "other": [1]}, "inputs": [
          {"name": "t", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 9}},
          {"name": "j", "shape": [1], "datatype": "INT8", "data": [5], "parameters": null},
          {"parameters": {"binary_data_size": 8}, "name": "x", "shape": [2, 1], "datatype": "INT32"}],
          "outputs": [{"name": "y", "parameters": {"binary_data": true}}, {"name": "z"}]})",
      std::string("\1\0\0\0a\0\0\0\0", 9) + std::string("\1\0\0\0\2\0\0\0", 8));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(request->inputs[0].texts, ElementsAre("a", ""));
  EXPECT_THAT(Values<std::int8_t>(request->inputs[1].numbers), ElementsAre(5));
  EXPECT_THAT(Values<std::int32_t>(request->inputs[2].numbers), ElementsAre(1, 2));
  EXPECT_EQ(request->ask.outputs[0].binary, true);
  EXPECT_EQ(request->ask.outputs[1].binary, std::nullopt);
  ASSERT_TRUE(request->sequence);
  EXPECT_EQ(request->sequence->id, "7");
  EXPECT_TRUE(request->sequence->end);
}

TEST(InferReaderTest, RawTensorsMustFillTheirShapes) {
  const auto why = [](const std::string& datatype, const std::string& shape, const std::string& size,
                      const std::string& raw) {
    const auto request =
        ReadWithRaw(R"({"inputs": [{"name": "x", "datatype": ")" + datatype + R"(", "shape": )" + shape +
                        R"(, "parameters": {"binary_data_size": )" + size + "}}]}",
                    raw);
    return request ? "" : request.error().message;
  };
  EXPECT_EQ(why("FP32", "[1]", "4", "abcd"), "");
  EXPECT_EQ(why("FP32", "[0, 3]", "0", ""), "");
  EXPECT_THAT(why("FP32", "[2]", "4", "abcd"), HasSubstr("takes 8 bytes, it has 4"));
  EXPECT_THAT(why("FP32", "[4294967296, 4294967296]", "4", "abcd"), HasSubstr("more elements"));
  EXPECT_THAT(why("FP32", "[1]", "-4", "abcd"), HasSubstr("a number of bytes"));
  EXPECT_THAT(why("FP32", "[1]", "5", "abcd"), HasSubstr("4 bytes are left"));
  EXPECT_THAT(why("BOOL", "[1]", "1", "\2"), HasSubstr("the byte 0 or 1"));
  EXPECT_THAT(why("BYTES", "[1]", "4", "\1\1\1\1"), HasSubstr("cut off"));
  EXPECT_THAT(why("BYTES", "[1]", "3", "abc"), HasSubstr("cut off"));
  EXPECT_THAT(why("BYTES", "[2]", "4", std::string(4, '\0')), HasSubstr("hold 1 elements, the shape has 2"));
}

Request V2Request(const std::string& body) {
  Request request = RawRequest(body);
  request.protocol = Protocol::kKServeV2;
  return request;
}

TEST(InferProtocolTest, ASampleIsTheSameWhateverProtocolItCameIn) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"});
  const auto native = PrepareAs(*handler, RawRequest("[[1, 2], [3, 4]]"));
  Request request = RawRequest(R"({"instances": [[1, 2], [3, 4]]})");
  request.protocol = Protocol::kKServeV1;
  const auto v1 = PrepareAs(*handler, std::move(request));
  const auto v2 = PrepareAs(*handler, V2Request(Input("FP32", "[2, 2]", "[1, 2, 3, 4]")));
  for (const auto* sample : {&native, &v1, &v2}) {
    ASSERT_TRUE(*sample);
    EXPECT_EQ((*sample)->rows, 2);
    EXPECT_EQ((*sample)->shape_key, native->shape_key);
    EXPECT_THAT(Values<float>((*sample)->inputs[0]), ElementsAre(1, 2, 3, 4));
  }
}

TEST(InferProtocolTest, AnAnswerKeepsTypesShapesAndNames) {
  const auto handler = TensorHandlerFor({"x:float32:[2]"}, {"p:float64:[]", "q:bool:[2]"});
  const auto sample = PrepareAs(
      *handler, V2Request(R"({"id": "a\"b", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2],
                              "data": [1, 2]}], "outputs": [{"name": "q"}, {"name": "p"}]})"));
  ASSERT_TRUE(sample) << sample.error().message;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Output output;
  output.tensors = {MakeTensor<double>(DType::kFloat64, {1}, {nan}),
                    MakeTensor<std::uint8_t>(DType::kBool, {1, 2}, {1, 0})};
  const auto response = RenderAs(*handler, output, sample->hint, "m", "2.0");
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(json::parse(response->body),
            json::parse(R"({"model_name": "m", "model_version": "2.0", "id": "a\"b",
      "outputs": [{"name": "q", "datatype": "BOOL", "shape": [1, 2], "data": [true, false]},
                  {"name": "p", "datatype": "FP64", "shape": [1], "data": [null]}]})"));
}

TEST(InferProtocolTest, AHandlerWithoutTensorsSaysSo) {
  struct Other final : Handler {
    Result<Sample> Prepare(Request) const override { return Sample(); }
    Result<Response> Render(const Output&, const RenderHint&) const override { return Response(); }
    Result<Sample> SyntheticSample() const override { return Sample(); }
  };
  const auto sample = PrepareAs(Other(), V2Request(Input("FP32", "[1]", "[1]")));
  ASSERT_FALSE(sample);
  EXPECT_EQ(sample.error().code, Code::kNotImplemented);
}

}  // namespace
}  // namespace serve
