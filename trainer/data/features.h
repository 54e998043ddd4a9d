#pragma once

#include <cstdint>
#include <vector>

#include "handlers/text/text_features.h"
#include "handlers/text/vocabulary.h"
#include "trainer/data/dataset.h"

namespace serve::trainer {

/// Every word of the texts, with idf(t) = ln((1 + N) / (1 + texts that hold t)) + 1 over N texts.
/// Errors: kInvalidArgument when there is no word at all.
Result<Vocabulary> CountVocabulary(const std::vector<LabelledText>& rows);

/// Texts as the model sees them, and what they are.
struct LabelledBags {
  TextBags bags;
  std::vector<std::int64_t> labels;  // [texts]
};

/// The handler's own features, of many texts.
LabelledBags EncodeRows(const std::vector<LabelledText>& rows, const Vocabulary& vocabulary);

}  // namespace serve::trainer
