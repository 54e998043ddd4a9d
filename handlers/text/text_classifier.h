#pragma once

#include <memory>

#include "handlers/handler.h"
#include "handlers/text/text_input.h"

namespace serve {

/// Text in, the probability of each label out.
///
/// Archive:  vocabulary.tsv (Vocabulary) and index_to_name.json (ReadLabels), both needed.
/// Requests: text or JSON, see ReadTexts.
/// Module:   forward(ids int64 [terms], offsets int64 [texts], weights float32 [terms]) → probabilities
/// [texts, labels]
///           float32; the module does the softmax. Texts of any length join in one batch.
/// JSON out: {"World": 0.93, ...}, best first, as Python's json.dumps(indent=2) prints it.
/// Warm-up:  SyntheticSample is a text of some terms of the vocabulary.
/// Errors:   at load kInvalidArgument, naming file and place; Prepare kInvalidArgument with the place
///           (`instances[2]: expected a text, found a number`); Render kPredictionFailed when the model's
///           answer does not fit the labels.
/// Threads:  const and free of locks; each thread keeps a JSON parser of at most a few MiB.
/// Source:   TorchServe's text_classifier, without its bigrams and with batches.
Result<std::unique_ptr<Handler>> MakeTextClassifier(const HandlerArtifacts& artifacts,
                                                    const TextLimits& limits = {});

}  // namespace serve
