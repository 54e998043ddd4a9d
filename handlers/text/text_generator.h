#pragma once

#include <memory>

#include "handlers/handler.h"

namespace serve {

/// A prompt in, generated text out, token by token: the model is run once for each, on what there is so far,
/// and requests share batches in every run, whenever they came.
///
/// Archive:  a vocabulary that LoadSubwordTokenizer finds; without one requests and answers are token ids.
/// Options:  max_new_tokens (64), max_new_tokens_limit (1024, what a request may ask for), max_length (1024,
///           tokens of prompt and answer together), temperature (0: always the best token), top_k (0: among
///           all), eos_id (the end of the vocabulary; -1: none), bos_id (-1: none, put before the prompt),
///           stream (true), lower_case (true, of WordPiece).
/// Requests: see ReadGenerateRequest. One prompt each.
/// Module:   forward(input_ids int64 [n, t], attention_mask int64 [n, t]) → float32 [n, t, v], of which the
/// row of
///           the last token is read, or [n, v]. Padding is on the right and 0 in the mask; how much of it
///           there is depends on the length of the request alone (LengthBucket). A model that looks backwards
///           only (as decoders do) therefore answers the same in any company.
/// Parts:    the text of each token, whole UTF-8 characters; without a vocabulary a line with the id.
/// JSON out: {"text": "...", "tokens": 5} or {"output_ids": [...]}, when the request says "stream": false.
/// Threads:  const, no locks; what a request has so far travels with its sample.
Result<std::unique_ptr<Handler>> MakeTextGenerator(const HandlerArtifacts& artifacts);

}  // namespace serve
