#include "handlers/text/text_generator.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "handlers/text/token_choice.h"
#include "tests/handlers/tensor/requests.h"
#include "tests/handlers/text/text_model.h"

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kPieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nteam\n##s\nwon\n";
constexpr std::int64_t kSize = 8;

Result<std::unique_ptr<Handler>> Make(bool vocabulary, const HandlerOptions& options = {}) {
  const TestFolder folder;
  if (vocabulary) folder.Write("vocab.txt", kPieces);
  HandlerArtifacts artifacts;
  artifacts.folder = folder.path();
  artifacts.options = options;
  return MakeHandler("text_generator", artifacts);
}

/// What a model says that wants `token` next, for each place of the sample.
Output Wants(const Sample& sample, std::int64_t token, std::int64_t last) {
  const std::int64_t length = sample.inputs[0].shape[1];
  Tensor scores = Tensor::Empty(DType::kFloat32, {1, length, kSize});
  std::fill_n(scores.as<float>(), scores.elements(), 0.0F);
  scores.as<float>()[last * kSize + token] = 1;
  return {{scores}, {}};
}

/// The parts that a request gets when the model wants these tokens one after the other.
std::vector<std::string> Parts(const Handler& handler, const std::string& body,
                               const std::vector<std::int64_t>& tokens, std::string* whole = nullptr) {
  auto sample = handler.Prepare(RawRequest(body, "application/json"));
  if (!sample) return {sample.error().message};
  const RenderHint hint = sample->hint;
  std::vector<std::string> parts;
  for (const std::int64_t token : tokens) {
    std::int64_t last = -1;
    for (const std::int64_t present : Values<std::int64_t>(sample->inputs[1])) last += present;
    const Output wanted = Wants(*sample, token, last);
    auto step = handler.Next(wanted, std::move(*sample));
    if (!step) return {step.error().message};
    parts.push_back(step->part);
    if (!step->more) {
      if (whole != nullptr) *whole = handler.Render(step->answer, hint)->body;
      parts.emplace_back("END");
      break;
    }
    *sample = std::move(*step->more);
  }
  return parts;
}

TEST(TextGeneratorTest, APromptLosesTheEndThatItsTokenizerPutsBehindIt) {
  const auto handler = *Make(true);
  const auto sample = handler->Prepare(RawRequest("The teams", "text/plain"));
  ASSERT_TRUE(sample) << sample.error().message;
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[0]), ElementsAre(2, 4, 5, 6, 0, 0, 0, 0));
  EXPECT_THAT(Values<std::int64_t>(sample->inputs[1]), ElementsAre(1, 1, 1, 1, 0, 0, 0, 0));
  EXPECT_TRUE(sample->hint.stream);
}

TEST(TextGeneratorTest, PartsAreTheTextOfEachTokenUntilTheEndOfTheVocabulary) {
  const auto handler = *Make(true);
  std::string whole;
  EXPECT_THAT(Parts(*handler, R"({"prompt": "the"})", {5, 6, 7, 3}, &whole),
              ElementsAre(" team", "s", " won", "", "END"));
  EXPECT_EQ(whole, " teams won");
  Parts(*handler, R"({"prompt": "the", "stream": false})", {5, 6, 7, 3}, &whole);
  EXPECT_EQ(nlohmann::json::parse(whole), nlohmann::json::parse(R"({"text": " teams won", "tokens": 3})"));
}

TEST(TextGeneratorTest, WithoutAVocabularyPartsAreIds) {
  const auto handler = *Make(false, {{"max_new_tokens", "3"}});
  std::string whole;
  EXPECT_THAT(Parts(*handler, R"({"input_ids": [1, 2], "stream": false})", {5, 6, 7}, &whole),
              ElementsAre("5\n", "6\n", "7\n", "END"));
  EXPECT_EQ(whole, R"({"output_ids": [5, 6, 7]})");
}

TEST(TextGeneratorTest, ItEndsAtTheLimitTheStopTokenOrTheLongestLength) {
  const auto handler = *Make(false, {{"max_length", "12"}});
  EXPECT_THAT(Parts(*handler, R"({"input_ids": [1], "max_new_tokens": 2})", {5, 6, 7}),
              ElementsAre("5\n", "6\n", "END"));
  EXPECT_THAT(Parts(*handler, R"({"input_ids": [1], "eos_id": 6})", {5, 6, 7}),
              ElementsAre("5\n", "", "END"));
  EXPECT_THAT(Parts(*handler, R"({"input_ids": [1,1,1,1,1,1,1,1,1,1]})", {5, 6, 7}),
              ElementsAre("5\n", "6\n", "END"));
  EXPECT_THAT(Parts(*handler, R"({"input_ids": [1,1,1,1,1,1,1,1,1,1,1,1]})", {5}),
              ElementsAre(HasSubstr("the prompt has 12 tokens or more")));
}

TEST(TextGeneratorTest, ScoresThatCannotBeReadAreRefused) {
  const auto handler = *Make(false);
  const auto sample = handler->Prepare(RawRequest(R"({"input_ids": [1]})", "application/json"));
  Tensor scores = Tensor::Empty(DType::kFloat32, {1, kSize});
  std::fill_n(scores.as<float>(), kSize, NAN);
  EXPECT_THAT(handler->Next({{scores}, {}}, *sample).error().message, HasSubstr("no number"));
  EXPECT_THAT(handler->Next({{Tensor::Empty(DType::kInt64, {1, 8, 8})}, {}}, *sample).error().message,
              HasSubstr("expected scores as float32"));
  std::fill_n(scores.as<float>(), kSize, 0.0F);
  scores.as<float>()[4] = 1;
  EXPECT_EQ(handler->Next({{scores}, {}}, *sample)->part, "4\n");  // [texts, vocabulary] does as well
}

TEST(TextGeneratorTest, UnusableOptionsAreNamed) {
  const auto handler = Make(false, {{"temperature", "-1"}});
  ASSERT_FALSE(handler);
  EXPECT_THAT(handler.error().message, HasSubstr("temperature"));
}

TEST(TokenChoiceTest, TheSameSeedTakesTheSameTokens) {
  const std::vector<float> scores = {0.1F, 2.0F, 1.5F, -3.0F, 1.9F};
  const auto draw = [&](std::uint64_t seed, TokenChoice choice) {
    std::mt19937_64 random(seed);
    std::vector<std::int64_t> tokens(50);
    for (auto& token : tokens) token = ChooseToken(scores.data(), scores.size(), choice, random);
    return tokens;
  };
  EXPECT_EQ(draw(1, {1.0, 0}), draw(1, {1.0, 0}));
  EXPECT_NE(draw(1, {1.0, 0}), draw(2, {1.0, 0}));
  EXPECT_THAT(draw(1, {1.0, 2}), testing::Each(testing::AnyOf(1, 4)));
  EXPECT_THAT(draw(1, {0.0, 0}), testing::Each(1));
  EXPECT_THAT(draw(1, {5.0, 1}), testing::Each(1));
}

}  // namespace
}  // namespace serve
