#include "handlers/image/vision_handlers.h"

#include <cmath>
#include <png.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/handlers/image/pictures.h"
#include "tests/handlers/tensor/requests.h"
#include "tests/handlers/text/text_model.h"  // TestFolder

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Flat(int width, int height, std::uint8_t value) {
  return MakePng(width, height, {PNG_COLOR_TYPE_GRAY},
                 std::vector<std::uint8_t>(static_cast<std::size_t>(width * height), value));
}

/// Some handler with options, and labels if the text is not empty.
std::unique_ptr<Handler> Make(std::string_view name, const HandlerOptions& options = {},
                              std::string_view labels = {}) {
  const TestFolder folder;
  if (!labels.empty()) folder.Write("index_to_name.json", labels);
  HandlerArtifacts artifacts;
  artifacts.folder = folder.path();
  artifacts.options = options;
  auto handler = MakeHandler(name, artifacts);
  if (!handler) throw std::runtime_error(handler.error().message);
  return *std::move(handler);
}

Sample Decoded(const Handler& handler, const std::string& picture) {
  auto sample = handler.Prepare(RawRequest(picture, "image/png"));
  if (!sample) throw std::runtime_error(sample.error().message);
  if (const Status status = handler.Decode(*sample); !status.ok()) throw std::runtime_error(status.message);
  return *std::move(sample);
}

nlohmann::ordered_json Rendered(const Handler& handler, std::vector<Tensor> tensors,
                                const RenderHint& hint = {}) {
  const auto response = handler.Render({std::move(tensors), {}}, hint);
  if (!response) throw std::runtime_error(response.error().message);
  return nlohmann::ordered_json::parse(response->body);
}

TEST(ImageClassifierTest, APictureBecomesOneNormalizedTensor) {
  const auto handler = Make("image_classifier");
  EXPECT_TRUE(handler->Decodes());
  const Sample sample = Decoded(*handler, Flat(40, 30, 255));
  ASSERT_EQ(sample.inputs.size(), 1U);
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 3, 224, 224));
  const auto values = Values<float>(sample.inputs[0]);
  EXPECT_FLOAT_EQ(values[0], (1 - 0.485F) / 0.229F);
  EXPECT_FLOAT_EQ(values.back(), (1 - 0.406F) / 0.225F);
}

TEST(ImageClassifierTest, DecodingTwiceChangesNothing) {
  const auto handler = Make("image_classifier");
  Sample sample = Decoded(*handler, Flat(4, 4, 9));
  const auto memory = sample.inputs[0].data;
  EXPECT_TRUE(handler->Decode(sample).ok());
  EXPECT_EQ(sample.inputs[0].data, memory);
}

TEST(ImageClassifierTest, PicturesOfAnySizeAndTensorsOfThatSizeShareABatch) {
  const auto handler = Make("image_classifier", {{"crop", "2"}, {"resize", "2"}});
  const auto small = handler->Prepare(RawRequest(Flat(3, 5, 1), "image/png"));
  const auto large = handler->Prepare(RawRequest(Flat(30, 50, 1), "image/png"));
  const auto tensor = handler->Prepare(RawRequest("[[[1, 2], [3, 4]], [[1, 2], [3, 4]], [[1, 2], [3, 4]]]"));
  const auto other = handler->Prepare(RawRequest("[[[1]], [[2]], [[3]]]"));
  ASSERT_TRUE(small && large && tensor && other);
  EXPECT_EQ(small->shape_key, large->shape_key);
  EXPECT_EQ(small->shape_key, tensor->shape_key);
  EXPECT_NE(small->shape_key, other->shape_key);
  const auto synthetic = handler->SyntheticSample();
  ASSERT_TRUE(synthetic);
  EXPECT_EQ(synthetic->shape_key, small->shape_key);
}

TEST(ImageClassifierTest, AVeryLongPictureCostsNoMoreThanAnother) {
  const auto handler = Make("image_classifier");
  EXPECT_THAT(Decoded(*handler, Flat(1, 60000, 7)).inputs[0].shape, ElementsAre(1, 3, 224, 224));
  EXPECT_THAT(Decoded(*handler, Flat(60000, 1, 7)).inputs[0].shape, ElementsAre(1, 3, 224, 224));
}

TEST(ImageClassifierTest, APictureThatCannotBeDecodedIsNamedByItsNumber) {
  const auto handler = Make("image_classifier");
  const std::string good = '"' + ToBase64(Flat(4, 4, 9)) + '"';
  const std::string whole = Flat(4, 4, 9);
  const std::string bad = '"' + ToBase64(whole.substr(0, whole.size() - 20)) + '"';
  auto sample = handler->Prepare(RawRequest("[" + good + "," + bad + "]"));
  ASSERT_TRUE(sample) << sample.error().message;
  const Status status = handler->Decode(*sample);
  EXPECT_EQ(status.code, Code::kInvalidArgument);
  EXPECT_THAT(status.message, HasSubstr("picture 1: cannot decode the PNG picture"));
}

TEST(ImageClassifierTest, TheFiveLikeliestClassesComeBestFirst) {
  const auto handler = Make("image_classifier");
  const auto json = Rendered(*handler, {MakeTensor<float>(DType::kFloat32, {1, 6}, {0, 5, 1, 4, 2, 3})});
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("1", "3", "5", "4", "2"));
  const double sum = 1 + std::exp(-1.0) + std::exp(-2.0) + std::exp(-3.0) + std::exp(-4.0) + std::exp(-5.0);
  EXPECT_NEAR(json["1"].get<double>(), 1 / sum, 1e-6);
}

TEST(ImageClassifierTest, LabelsNameTheClassesThatHaveOne) {
  const auto handler = Make("image_classifier", {{"top_k", "3"}, {"softmax", "false"}},
                            R"({"0": ["n01", "tench"], "2": "crane"})");
  const auto json = Rendered(*handler, {MakeTensor<float>(DType::kFloat32, {1, 3}, {0.25F, 0.5F, 0.125F})});
  EXPECT_EQ(json.dump(), R"({"1":0.5,"tench":0.25,"crane":0.125})");
}

TEST(ImageClassifierTest, ALabelThatComesTwiceIsWrittenOnce) {
  const auto handler =
      Make("image_classifier", {{"softmax", "false"}}, R"({"0": "crane", "1": "crane", "2": "cat"})");
  const auto json = Rendered(*handler, {MakeTensor<float>(DType::kFloat32, {1, 3}, {0.25F, 0.5F, 0.125F})});
  EXPECT_EQ(json.dump(), R"({"crane":0.5,"cat":0.125})");
}

TEST(ImageClassifierTest, AnAnswerOfAnotherFormIsAnError) {
  const auto handler = Make("image_classifier");
  EXPECT_EQ(handler->Render({{Tensor::Empty(DType::kFloat32, {1, 2, 3})}, {}}, {}).error().code,
            Code::kPredictionFailed);
  const auto nan = handler->Render({{MakeTensor<float>(DType::kFloat32, {1, 2}, {NAN, 1})}, {}}, {});
  ASSERT_FALSE(nan);
  EXPECT_THAT(nan.error().message, HasSubstr("no finite number"));
}

TEST(ImageClassifierTest, OptionsThatCannotBeUsedAreRefusedByName) {
  const auto error = [](const HandlerOptions& options, std::vector<TensorSpec> inputs = {}) {
    HandlerArtifacts artifacts;
    artifacts.options = options;
    artifacts.inputs = std::move(inputs);
    const auto handler = MakeHandler("image_classifier", artifacts);
    return handler ? "no error" : handler.error().message;
  };
  EXPECT_EQ(error({{"top_k", "0"}}),
            "the handler option top_k is \"0\"; it must be a whole number from 1 to 100000");
  EXPECT_THAT(error({{"crop", "300"}}), HasSubstr("crop is 300; it must be at most resize, which is 256"));
  EXPECT_THAT(error({{"mean", "1,2"}}), HasSubstr("three numbers"));
  EXPECT_THAT(error({{"std", "1,0,1"}}), HasSubstr("std must not be 0"));
  EXPECT_THAT(error({{"softmax", "yes"}}), HasSubstr("true or false"));
  EXPECT_THAT(error({}, {{"x", DType::kFloat32, {3, 299, 299}}}),
              HasSubstr("[3, 224, 224] of a picture; set"));
  EXPECT_EQ(error({{"resize", "342"}, {"crop", "299"}}, {{"x", DType::kFloat32, {3, 299, 299}}}), "no error");
}

TEST(ImageSegmenterTest, EachPointGetsItsClassAndProbability) {
  const auto handler = Make("image_segmenter");
  Sample one;
  Sample two;
  // [2 pictures, 2 classes, 1, 2]
  const Tensor out = MakeTensor<float>(DType::kFloat32, {2, 2, 1, 2}, {1, 0, 0, 0, 2, 5, 2, 7});
  const Tensor aux = MakeTensor<float>(DType::kFloat32, {2, 1}, {0, 0});
  const auto parts = handler->Split({aux, out}, {"aux", "out"}, {&one, &two});
  ASSERT_TRUE(parts) << parts.error().message;
  const auto first = Rendered(*handler, (*parts)[0].tensors);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0][0][0], 0.0);
  EXPECT_NEAR(first[0][0][1].get<double>(), 1 / (1 + std::exp(-1.0)), 1e-6);
  EXPECT_EQ(first[0][1][0], 0.0);
  EXPECT_NEAR(first[0][1][1].get<double>(), 0.5, 1e-6);
  const auto second = Rendered(*handler, (*parts)[1].tensors);
  EXPECT_EQ(second[0][1][0], 1.0);
  EXPECT_NEAR(second[0][1][1].get<double>(), 1 / (1 + std::exp(-2.0)), 1e-6);
  EXPECT_FALSE(handler->Split({aux}, {}, {&one, &two}));
}

/// Two pictures' boxes as one tensor each: the second has only one box above 0.5.
std::vector<Tensor> BatchedBoxes() {
  return {
      MakeTensor<float>(DType::kFloat32, {2, 2, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}),
      MakeTensor<std::int64_t>(DType::kInt64, {2, 2}, {1, 2, 1, 7}),
      MakeTensor<float>(DType::kFloat32, {2, 2}, {0.75F, 0.5F, 0.25F, 1})};
}
constexpr std::string_view kObjects = R"({"object_type_names": ["none", "person", "dog"]})";
constexpr std::string_view kFirst =
    R"([{"person":[0.0,1.0,2.0,3.0],"score":0.75},{"dog":[4.0,5.0,6.0,7.0],"score":0.5}])";
constexpr std::string_view kSecond = R"([{"7":[12.0,13.0,14.0,15.0],"score":1.0}])";

TEST(ObjectDetectorTest, APictureKeepsItsSizeAndOnlyLikeSizesShareABatch) {
  const auto handler = Make("object_detector");
  const Sample sample = Decoded(*handler, Flat(5, 3, 51));
  EXPECT_THAT(sample.inputs[0].shape, ElementsAre(1, 3, 3, 5));
  EXPECT_FLOAT_EQ(Values<float>(sample.inputs[0])[0], 0.2F);
  EXPECT_NE(handler->Prepare(RawRequest(Flat(3, 5, 1), "image/png"))->shape_key, sample.shape_key);
  const std::string pair = "[\"" + ToBase64(Flat(5, 3, 1)) + "\", \"" + ToBase64(Flat(3, 5, 1)) + "\"]";
  const auto mixed = handler->Prepare(RawRequest(pair));
  ASSERT_FALSE(mixed);
  EXPECT_THAT(mixed.error().message, HasSubstr("must be of one size"));
}

TEST(ObjectDetectorTest, BoxesOfABatchAreGivenToTheirPictures) {
  const auto handler = Make("object_detector", {}, kObjects);
  const Sample one;
  const auto parts = handler->Split(BatchedBoxes(), {}, {&one, &one});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ(Rendered(*handler, (*parts)[0].tensors).dump(), kFirst);
  EXPECT_EQ(Rendered(*handler, (*parts)[1].tensors).dump(), kSecond);
}

TEST(ObjectDetectorTest, ADictionaryForEachPictureIsTakenInAnyOrderOfNames) {
  const auto handler = Make("object_detector", {}, kObjects);
  Sample both;
  both.rows = 2;
  both.hint = {false, true};
  std::vector<Tensor> outputs;
  const auto boxes = BatchedBoxes();
  for (const std::size_t part : {2U, 0U, 1U, 2U, 0U, 1U}) {
    Tensor row = boxes[part].Rows(outputs.size() < 3 ? 0 : 1, 1);
    row.shape.erase(row.shape.begin());
    outputs.push_back(row);
  }
  const auto parts =
      handler->Split(outputs, {"scores", "boxes", "labels", "scores", "boxes", "labels"}, {&both});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_EQ(Rendered(*handler, (*parts)[0].tensors, both.hint).dump(),
            fmt::format("{{\"predictions\":[{},{}]}}", kFirst, kSecond));
}

TEST(ObjectDetectorTest, TheThresholdIsAnOption) {
  const auto handler = Make("object_detector", {{"threshold", "0.8"}}, kObjects);
  const Sample one;
  const auto parts = handler->Split(BatchedBoxes(), {}, {&one, &one});
  ASSERT_TRUE(parts);
  EXPECT_EQ(Rendered(*handler, (*parts)[0].tensors).dump(), "[]");
}

TEST(ObjectDetectorTest, AnAnswerOfAnotherFormIsAnErrorThatSaysWhatItIs) {
  const auto handler = Make("object_detector");
  const Sample one;
  const auto parts = handler->Split({Tensor::Empty(DType::kFloat32, {1, 2})}, {}, {&one});
  ASSERT_FALSE(parts);
  EXPECT_EQ(parts.error().code, Code::kPredictionFailed);
  const auto odd = handler->Split({Tensor::Empty(DType::kFloat32, {2, 3}), Tensor::Empty(DType::kInt64, {2}),
                                   Tensor::Empty(DType::kFloat32, {2})},
                                  {}, {&one});
  ASSERT_FALSE(odd);
  EXPECT_THAT(odd.error().message, HasSubstr("boxes float32 [k, 4]"));
}

}  // namespace
}  // namespace serve
