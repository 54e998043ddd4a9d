#pragma once

#include <memory>
#include <string_view>

#include "handlers/text/subword_tokenizer.h"

namespace serve {

inline constexpr std::string_view kWordPieceFile = "vocab.txt";

/// BERT's tokenizer: `content` has one piece a line, whose number from 0 is the id; `##` begins a piece
/// inside of a word; [UNK], [CLS], [SEP] and [PAD] must be among them.
///
/// Control characters go, Chinese characters and punctuation are words of their own; with `lower_case`
/// accents are dropped (canonical decomposition without nonspacing marks) and letters lowered. A word becomes
/// the longest pieces from its left; one that cannot be made of pieces, or is longer than 100 characters,
/// becomes [UNK]. [CLS], [SEP], [MASK], [UNK] and [PAD] in the text itself are these pieces.
///
/// Errors: kInvalidArgument: a piece is missing, the file has too many.
/// Source: BERT (Devlin et al. 2018), as Hugging Face's tokenizers do it; Unicode data of utf8proc.
Result<std::unique_ptr<SubwordTokenizer>> MakeWordPiece(std::string_view content, bool lower_case);

}  // namespace serve
