#pragma once

#include <memory>

#include "handlers/handler.h"
#include "handlers/text/subword_tokenizer.h"

namespace serve {

/// Text in, the probability of each label out, for a transformer with a vocabulary of pieces.
///
/// Archive:  a vocabulary that LoadSubwordTokenizer finds; index_to_name.json (ReadClassNames), optional.
/// Options:  max_length (what is declared, else 512), lower_case (true), softmax (true), top_k (all).
/// Requests: text or JSON, see ReadTexts.
/// Module:   forward(input_ids, attention_mask[, token_type_ids]) → scores float32 [texts, labels], as its
/// first
///           output; see Sequences.
/// JSON out: {"World": 0.93, ...}, best first.
Result<std::unique_ptr<Handler>> MakeSubwordClassifier(const HandlerArtifacts& artifacts);

/// Text in, a vector out.
///
/// Archive:  a vocabulary that LoadSubwordTokenizer finds.
/// Options:  max_length, lower_case as above; normalize (true): to unit length.
/// Module:   forward(input_ids, attention_mask[, token_type_ids]) → float32 [texts, tokens, size], which is
///           averaged over the tokens of each text (padding left out), or [texts, size], taken as it is.
/// JSON out: [0.1, ...]; of several texts a list, or {"predictions": [...]}.
/// Source:   sentence-transformers: mean pooling and Normalize.
Result<std::unique_ptr<Handler>> MakeTextEmbedding(const HandlerArtifacts& artifacts);

}  // namespace serve
