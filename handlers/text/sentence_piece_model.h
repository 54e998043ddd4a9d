#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// What stands in a .model file of SentencePiece, as far as encoding needs it.
struct SentencePieceModel {
  enum class Kind : std::uint8_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Kind kind = Kind::kNormal;
  };
  std::vector<Piece> pieces;  // by id
  bool bpe = false;           // else unigram
  bool byte_fallback = false;
  std::int64_t pad_id = -1;
  std::string characters;  // the compiled table; empty: none
  bool dummy_prefix = true;
  bool remove_extra_blanks = true;
  bool escape_blanks = true;
};

/// Errors: kInvalidArgument, saying what is wrong.
Result<SentencePieceModel> ParseSentencePieceModel(std::string_view content);

/// A compiled table: a double array trie (of Darts-clone) from bytes to the text that replaces them.
class CharacterTable {
 public:
  /// Empty: replaces nothing. Errors: kInvalidArgument for a table that is cut.
  static Result<CharacterTable> Make(std::string_view compiled);

  /// The longest prefix of `text` that is replaced: how many bytes it has (0: none), and by what.
  [[nodiscard]] std::size_t Match(std::string_view text, std::string_view& replacement) const;

 private:
  std::vector<std::uint32_t> trie_;
  std::string texts_;  // each ends with a 0 byte
};

}  // namespace serve
