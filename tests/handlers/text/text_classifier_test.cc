#include "handlers/text/text_classifier.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/handlers/tensor/requests.h"
#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

class TextClassifierTest : public testing::Test {
 protected:
  Sample Prepared(std::string_view body) {
    auto sample = handler_->Prepare(RawRequest(body));
    EXPECT_TRUE(sample) << sample.error().message;
    return *std::move(sample);
  }
  static Output Probabilities(std::vector<std::int64_t> shape, std::initializer_list<float> values) {
    return {{MakeTensor(DType::kFloat32, std::move(shape), values)}, {}};
  }
  std::string LoadError(std::string_view vocabulary, std::string_view labels,
                        std::vector<TensorSpec> outputs = {}) {
    const TestFolder folder;
    if (!vocabulary.empty()) folder.Write("vocabulary.tsv", vocabulary);
    if (!labels.empty()) folder.Write("index_to_name.json", labels);
    HandlerArtifacts artifacts{folder.path(), {}, std::move(outputs)};
    const auto handler = MakeHandler("text_classifier", artifacts);
    return handler ? "none" : handler.error().message;
  }

  const TestFolder folder_;
  const std::unique_ptr<Handler> handler_ = SmallClassifier(folder_);
};

TEST_F(TextClassifierTest, ATextBecomesIdsOffsetsAndWeights) {
  const Sample sample = Prepared(R"({"text": "Vote, bank vote"})");
  EXPECT_EQ(sample.rows, 1);
  ASSERT_EQ(sample.inputs.size(), 3U);
  EXPECT_THAT(Values<std::int64_t>(sample.inputs[0]), ElementsAre(0, 3));
  EXPECT_THAT(Values<std::int64_t>(sample.inputs[1]), ElementsAre(0));
  EXPECT_EQ(sample.inputs[2].dtype, DType::kFloat32);
  EXPECT_EQ(sample.inputs[2].shape, std::vector<std::int64_t>{2});
}

TEST_F(TextClassifierTest, TextsOfAnyLengthJoinInOneBatchWithShiftedOffsets) {
  const Sample first = Prepared(R"({"text": "bank goal team"})");
  const Sample second = Prepared(R"({"instances": ["unknown", "vote", "team goal"]})");
  EXPECT_EQ(first.shape_key, second.shape_key);
  EXPECT_EQ(second.rows, 3);
  const auto joined = handler_->Collate({&first, &second});
  ASSERT_TRUE(joined) << joined.error().message;
  EXPECT_THAT(Values<std::int64_t>((*joined)[0]), ElementsAre(0, 1, 2, 3, 1, 2));
  EXPECT_THAT(Values<std::int64_t>((*joined)[1]), ElementsAre(0, 3, 3, 4));
  EXPECT_EQ(Values<float>((*joined)[2]).size(), 6U);
  EXPECT_EQ(Values<float>((*joined)[2])[3], 1.0F);
}

TEST_F(TextClassifierTest, SplitGivesEachRequestItsRows) {
  const Sample first = Prepared(R"({"text": "bank"})");
  const Sample second = Prepared(R"(["vote", "team"])");
  const auto parts =
      handler_->Split(Probabilities({3, 2}, {.1F, .9F, .2F, .8F, .3F, .7F}).tensors, {}, {&first, &second});
  ASSERT_TRUE(parts) << parts.error().message;
  EXPECT_THAT(Values<float>((*parts)[1].tensors[0]), ElementsAre(.2F, .8F, .3F, .7F));
}

TEST_F(TextClassifierTest, AnAnswerIsBestFirstAsPythonPrintsIt) {
  const auto answer = handler_->Render(Probabilities({1, 2}, {.25F, .75F}), {});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body, "{\n  \"Sports\": 0.75,\n  \"World\": 0.25\n}");
  EXPECT_EQ(answer->content_type, "application/json");
}

TEST_F(TextClassifierTest, EqualProbabilitiesKeepTheOrderOfTheClasses) {
  EXPECT_EQ(handler_->Render(Probabilities({1, 2}, {.5F, .5F}), {})->body,
            "{\n  \"World\": 0.5,\n  \"Sports\": 0.5\n}");
}

TEST_F(TextClassifierTest, NumbersArePythonsSpellingOfTheShortestDigits) {
  EXPECT_EQ(handler_->Render(Probabilities({1, 2}, {1.0F, 0.0F}), {})->body,
            "{\n  \"World\": 1.0,\n  \"Sports\": 0.0\n}");
  EXPECT_EQ(handler_->Render(Probabilities({1, 2}, {.99994F, 5e-05F}), {})->body,
            "{\n  \"World\": 0.99994,\n  \"Sports\": 5e-05\n}");
  EXPECT_EQ(handler_->Render(Probabilities({1, 2}, {1e-4F, 1.5e-10F}), {})->body,
            "{\n  \"World\": 0.0001,\n  \"Sports\": 1.5e-10\n}");
}

TEST_F(TextClassifierTest, SeveralRowsAreAListAndInstancesArePredictions) {
  const Output output = Probabilities({2, 2}, {.25F, .75F, 1.0F, 0.0F});
  RenderHint list;
  list.single_row = false;
  EXPECT_EQ(handler_->Render(output, list)->body,
            "[\n  {\n    \"Sports\": 0.75,\n    \"World\": 0.25\n  },\n  {\n    \"World\": 1.0,\n    "
            "\"Sports\": 0.0\n  }\n]");
  list.instances = true;
  EXPECT_EQ(handler_->Render(Probabilities({1, 2}, {.25F, .75F}), list)->body,
            "{\n  \"predictions\": [\n    {\n      \"Sports\": 0.75,\n      \"World\": 0.25\n    }\n  ]\n}");
}

TEST_F(TextClassifierTest, LabelsAreEscaped) {
  const TestFolder folder;
  const auto handler = SmallClassifier(folder, R"({"0": "a\"b", "1": "Économie"})");
  EXPECT_EQ(handler->Render(Probabilities({1, 2}, {.75F, .25F}), {})->body,
            "{\n  \"a\\\"b\": 0.75,\n  \"\\u00c9conomie\": 0.25\n}");
}

TEST_F(TextClassifierTest, AnAnswerThatDoesNotFitTheLabelsNamesBothNumbers) {
  const auto three = handler_->Render(Probabilities({1, 3}, {.2F, .3F, .5F}), {});
  ASSERT_FALSE(three);
  EXPECT_EQ(three.error().code, Code::kPredictionFailed);
  EXPECT_EQ(three.error().message,
            "Prediction failed: the model answered 3 classes, but index_to_name.json names 2 labels; they "
            "must be from "
            "the same training");
  const Output doubles{{MakeTensor(DType::kFloat64, {1, 2}, {.5, .5})}, {}};
  EXPECT_EQ(
      handler_->Render(doubles, {}).error().message,
      "Prediction failed: the model answered float64 [1, 2], expected probabilities as float32 [texts, 2]");
  EXPECT_EQ(handler_->Render(Probabilities({2}, {.5F, .5F}), {}).error().code, Code::kPredictionFailed);
  EXPECT_EQ(handler_->Render({}, {}).error().code, Code::kPredictionFailed);
  EXPECT_EQ(
      handler_->Render(Probabilities({1, 2}, {std::numeric_limits<float>::quiet_NaN(), 1}), {}).error().code,
      Code::kPredictionFailed);
}

TEST_F(TextClassifierTest, WarmUpIsATextOfKnownTerms) {
  const auto sample = handler_->SyntheticSample();
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_EQ(sample->rows, 1);
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[0]), ElementsAre(0, 1, 2, 3));
}

TEST_F(TextClassifierTest, LoadingNamesTheFileThatIsMissingOrWrong) {
  EXPECT_EQ(LoadError("", kSmallLabels),
            "text_classifier needs a vocabulary in the archive: vocabulary.tsv (flambeau-train packs it), "
            "vocab.txt (WordPiece), or spiece.model, tokenizer.model or sentencepiece.bpe.model "
            "(SentencePiece)");
  EXPECT_EQ(LoadError(kSmallVocabulary, ""),
            "text_classifier needs the file index_to_name.json in the archive; flambeau-train packs it");
  EXPECT_THAT(LoadError("x", kSmallLabels), testing::StartsWith("vocabulary.tsv:1: "));
  EXPECT_THAT(LoadError(kSmallVocabulary, "[]"), testing::StartsWith("index_to_name.json: "));
  EXPECT_EQ(LoadError(kSmallVocabulary, kSmallLabels, {{"p", DType::kFloat32, {4}}}),
            "index_to_name.json names 2 labels, but the archive declares the output p:float32:[4]");
  EXPECT_EQ(LoadError(kSmallVocabulary, kSmallLabels, {{"p", DType::kFloat32, {2}}}), "none");
}

}  // namespace
}  // namespace serve
