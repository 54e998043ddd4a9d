#include "handlers/text/subword_handlers.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/handlers/tensor/requests.h"
#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kPieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nteam\nwon\n";

Result<std::unique_ptr<Handler>> Make(std::string_view name, std::vector<TensorSpec> inputs = {},
                                      const HandlerOptions& options = {}) {
  const TestFolder folder;
  folder.Write("vocab.txt", kPieces);
  folder.Write("index_to_name.json", kSmallLabels);
  HandlerArtifacts artifacts;
  artifacts.folder = folder.path();
  artifacts.inputs = std::move(inputs);
  artifacts.options = options;
  return MakeHandler(name, artifacts);
}

std::string Error(std::string_view name, std::vector<TensorSpec> inputs, const HandlerOptions& options = {}) {
  const auto handler = Make(name, std::move(inputs), options);
  return handler ? "no error" : handler.error().message;
}

TensorSpec Ids(std::string name, std::int64_t length, DType dtype = DType::kInt64) {
  return {std::move(name), dtype, {length}};
}

TEST(SubwordHandlersTest, ATextBecomesIdsAndMaskPaddedToItsBucket) {
  const auto handler = *Make("text_classifier");
  const auto sample = handler->Prepare(RawRequest("The team won", "text/plain"));
  ASSERT_TRUE(sample) << sample.error().message;
  ASSERT_EQ(sample->inputs.size(), 2U);
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[0]), ElementsAre(2, 4, 5, 6, 3, 0, 0, 0));
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[1]), ElementsAre(1, 1, 1, 1, 1, 0, 0, 0));
}

TEST(SubwordHandlersTest, TextsOfOneBucketShareABatchWhateverTheirCompany) {
  const auto handler = *Make("text_embedding");
  const auto key = [&](std::size_t words) {
    std::string text;
    for (std::size_t i = 0; i < words; ++i) text += "team ";
    return handler->Prepare(RawRequest(text, "text/plain"))->inputs[0].shape[1];
  };
  EXPECT_EQ(key(1), 8);
  EXPECT_EQ(key(6), 8);
  EXPECT_EQ(key(7), 16);
  EXPECT_EQ(key(15), 24);
  EXPECT_EQ(key(23), 32);
  EXPECT_EQ(key(31), 48);
  EXPECT_EQ(key(5000), 512);
}

TEST(SubwordHandlersTest, ADeclaredLengthIsTheOnlyBucket) {
  const auto handler = *Make("text_classifier", {Ids("attention_mask", 5, DType::kInt32),
                                                 Ids("token_type_ids", 5), Ids("input_ids", 5)});
  const auto sample = handler->Prepare(RawRequest("[\"the\", \"the team won the team won\"]"));
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_EQ(sample->rows, 2);
  EXPECT_THAT(Values<std::int32_t>(sample->inputs[0]), ElementsAre(1, 1, 1, 0, 0, 1, 1, 1, 1, 1));
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[1]), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[2]), ElementsAre(2, 4, 3, 0, 0, 2, 4, 5, 6, 3));
  EXPECT_EQ(handler->SyntheticSample()->inputs[0].shape[1], 5);
}

TEST(SubwordHandlersTest, DeclarationsThatCannotWorkAreRefused) {
  EXPECT_THAT(Error("text_classifier", {Ids("input_ids", -1)}),
              HasSubstr("without the mask, padding would change"));
  EXPECT_THAT(Error("text_classifier", {{"x", DType::kFloat32, {3}}}), HasSubstr("x:float32:[3]"));
  EXPECT_THAT(Error("text_classifier", {Ids("input_ids", 8), Ids("attention_mask", 9)}),
              HasSubstr("must be of one length"));
  EXPECT_THAT(
      Error("text_classifier", {Ids("input_ids", 8), Ids("attention_mask", 8)}, {{"max_length", "9"}}),
      HasSubstr("max_length is 9, but the archive declares 8"));
  EXPECT_THAT(MakeTextEmbedding({}).error().message,
              HasSubstr("text_embedding needs a vocabulary in the archive"));
}

TEST(SubwordHandlersTest, ScoresBecomeProbabilitiesByLabel) {
  const auto handler = *Make("text_classifier");
  const auto response = handler->Render({{MakeTensor<float>(DType::kFloat32, {1, 2}, {1, 2})}, {}}, {});
  ASSERT_TRUE(response) << response.error().message;
  const auto json = nlohmann::ordered_json::parse(response->body);
  EXPECT_EQ(json.begin().key(), "Sports");
  EXPECT_NEAR(json["Sports"].get<double>(), 1 / (1 + std::exp(-1.0)), 1e-6);
  const auto few = handler->Render({{MakeTensor<float>(DType::kFloat32, {1, 1}, {1})}, {}}, {});
  ASSERT_FALSE(few);
  EXPECT_THAT(few.error().message, HasSubstr("1 classes, but index_to_name.json names 2"));
}

TEST(TextEmbeddingTest, TokensAreAveragedWithoutThePadding) {
  const auto handler = *Make("text_embedding");
  const auto one = handler->Prepare(RawRequest("the team won", "text/plain"));  // 5 of 8 tokens
  ASSERT_TRUE(one);
  Tensor states = Tensor::Empty(DType::kFloat32, {1, 8, 2});
  for (int token = 0; token < 8; ++token) {
    states.as<float>()[2 * token] = token < 5 ? 3.0F : NAN;  // padding may be anything
    states.as<float>()[2 * token + 1] = token < 5 ? 4.0F : 1e30F;
  }
  const auto parts = handler->Split({states}, {}, {&*one});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_THAT(Values<float>((*parts)[0].tensors[0]), ElementsAre(0.6F, 0.8F));
  EXPECT_EQ(handler->Render((*parts)[0], {})->body, "[0.6,0.8]");
}

TEST(TextEmbeddingTest, AVectorOfTheModuleIsOnlyNormalized) {
  const auto handler = *Make("text_embedding");
  const auto one = handler->Prepare(RawRequest("the team won", "text/plain"));
  const auto two = handler->Prepare(RawRequest("[\"the\"]"));
  const Tensor vectors = MakeTensor<float>(DType::kFloat32, {2, 2}, {3, 4, 0, -5});
  const auto parts = handler->Split({vectors}, {}, {&*one, &*two});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_THAT(Values<float>((*parts)[0].tensors[0]), ElementsAre(0.6F, 0.8F));
  EXPECT_EQ(handler->Render((*parts)[1], two->hint)->body, "[[0.0,-1.0]]");
  EXPECT_EQ(vectors.as<float>()[0], 3);  // what the module gave is not written to
  const auto plain = *Make("text_embedding", {}, {{"normalize", "false"}});
  EXPECT_THAT(Values<float>((*plain->Split({vectors}, {}, {&*one, &*two}))[0].tensors[0]), ElementsAre(3, 4));
}

}  // namespace
}  // namespace serve
