#pragma once

#include <memory>
#include <string_view>

#include "handlers/text/subword_tokenizer.h"

namespace serve {

/// SentencePiece's tokenizer: `content` is a trained .model file, of the kinds unigram and BPE.
///
/// Text is normalized as the file says (its compiled table of characters, blanks, the blank before the text),
/// then cut: unigram into the pieces of the highest score together, BPE by joining the best pair again and
/// again. What no piece covers is one unknown id, or its bytes where the model has pieces for bytes. Ends:
/// [CLS] … [SEP] where the model has them; with `fairseq` (files named sentencepiece.bpe.model, of
///         XLM-RoBERTa and its kin) <s> … </s>, and its order of ids; else only </s> behind, as T5 wants it.
/// Errors: kInvalidArgument: no such file, damaged, another kind (word, char), no unknown piece.
/// Source: Kudo and Richardson 2018; the file's layout is sentencepiece_model.proto.
Result<std::unique_ptr<SubwordTokenizer>> MakeSentencePiece(std::string_view content, bool fairseq);

}  // namespace serve
