#include "handlers/text/sentence_piece.h"

#include <bit>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A field with a length.
std::string Field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string Varint(int number, int value) {
  const int key = number << 3;
  std::string text;
  if (key >= 128) text += static_cast<char>((key & 0x7f) | 0x80);
  text += static_cast<char>(key >= 128 ? key >> 7 : key);
  return text + static_cast<char>(value);
}

struct TestPiece {
  std::string text;
  float score = 0;
  int kind = 1;
};
constexpr int kUnknown = 2;
constexpr int kControl = 3;
constexpr int kUserDefined = 4;
constexpr int kByte = 6;

std::string Model(int kind, const std::vector<TestPiece>& pieces, const std::string& more = {}) {
  std::string model;
  for (const TestPiece& piece : pieces) {
    const auto bits = std::bit_cast<std::uint32_t>(piece.score);
    std::string score{static_cast<char>(2 << 3 | 5)};
    for (int shift = 0; shift < 32; shift += 8) score += static_cast<char>(bits >> shift & 0xff);
    model += Field(1, Field(1, piece.text) + score + Varint(3, piece.kind));
  }
  return model + Field(2, Varint(3, kind) + more) + Field(3, Varint(4, 1));
}

const std::vector<TestPiece> kPieces = {{"<unk>", 0, kUnknown},
                                        {"<s>", 0, kControl},
                                        {"</s>", 0, kControl},
                                        {"\u2581", -4},
                                        {"a", -3},
                                        {"b", -3.5},
                                        {"ab", -4},
                                        {"\u2581ab", -5},
                                        {"ba", -1},
                                        {"<x>", 0, kUserDefined}};

std::vector<std::int64_t> Encode(const std::string& model, std::string_view text, std::size_t most = 64,
                                 bool fairseq = false) {
  const auto tokenizer = MakeSentencePiece(model, fairseq);
  if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
  return (*tokenizer)->Encode(text, most);
}

TEST(SentencePieceTest, UnigramTakesTheCutOfTheHighestScore) {
  const std::string model = Model(1, kPieces);
  EXPECT_THAT(Encode(model, "ab"), ElementsAre(7, 2));         // -5 beats -4-4
  EXPECT_THAT(Encode(model, "aba"), ElementsAre(3, 4, 8, 2));  // -4-3-1 beats -5-3 only by the least: no
}

TEST(SentencePieceTest, BpeJoinsTheBestPairFirst) {
  const std::string model = Model(2, kPieces);
  EXPECT_THAT(Encode(model, "ab"), ElementsAre(7, 2));
  EXPECT_THAT(Encode(model, "aba"), ElementsAre(3, 4, 8, 2));
}

TEST(SentencePieceTest, UnknownCharactersAreOneIdAndExtraBlanksGo) {
  const std::string model = Model(1, kPieces);
  EXPECT_THAT(Encode(model, "  zz\u00e9  "), ElementsAre(3, 0, 2));
  EXPECT_THAT(Encode(model, "a  \xff"), ElementsAre(3, 4, 3, 0, 2));
  EXPECT_THAT(Encode(model, "   "), ElementsAre(2));
}

TEST(SentencePieceTest, WithPiecesForBytesNothingIsUnknown) {
  std::vector<TestPiece> pieces = kPieces;
  for (int byte = 0; byte < 256; ++byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    pieces.push_back({std::string("<0x") + kDigits[static_cast<std::size_t>(byte / 16)] +
                          kDigits[static_cast<std::size_t>(byte % 16)] + ">",
                      0, kByte});
  }
  EXPECT_THAT(Encode(Model(1, pieces, Varint(35, 1)), "\u00e9"), ElementsAre(3, 10 + 0xc3, 10 + 0xa9, 2));
}

TEST(SentencePieceTest, APieceOfTheUsersIsNeverCut) {
  EXPECT_THAT(Encode(Model(1, kPieces), "a<x>b"), ElementsAre(3, 4, 9, 5, 2));
  EXPECT_THAT(Encode(Model(2, kPieces), "a<x>b"), ElementsAre(3, 4, 9, 5, 2));
}

TEST(SentencePieceTest, FairseqHasOtherEndsAndShiftedIds) {
  EXPECT_THAT(Encode(Model(1, kPieces), "ab z", 64, true), ElementsAre(0, 8, 4, 3, 2));
}

TEST(SentencePieceTest, WhatIsTooLongIsCutBeforeTheEnd) {
  EXPECT_THAT(Encode(Model(1, kPieces), "a a a a a", 4), ElementsAre(3, 4, 3, 2));
}

TEST(SentencePieceTest, AModelThatCannotBeReadIsRefused) {
  const auto error = [](const std::string& model) {
    const auto tokenizer = MakeSentencePiece(model, false);
    return tokenizer ? "no error" : tokenizer.error().message;
  };
  const std::string model = Model(1, kPieces);
  EXPECT_EQ(error(model), "no error");
  EXPECT_THAT(error(""), HasSubstr("holds no pieces"));
  EXPECT_THAT(error("not a model at all"), HasSubstr("damaged"));
  EXPECT_THAT(error(Model(3, kPieces)), HasSubstr("word or char"));
  EXPECT_THAT(error(Model(1, {{"a", 0}})), HasSubstr("no piece for what is unknown"));
  EXPECT_THAT(error(Model(1, kPieces) + Field(3, Field(2, "abc"))), HasSubstr("table of characters"));
  for (std::size_t size = 1; size < model.size(); ++size) (void)error(model.substr(0, size));  // no crash
}

}  // namespace
}  // namespace serve
