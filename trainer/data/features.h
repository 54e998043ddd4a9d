#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "handlers/text/text_features.h"
#include "handlers/text/vocabulary.h"
#include "trainer/data/dataset.h"

namespace serve::trainer {

/// Counts the words of one text after the other.
///
/// Memory: a text and the counted terms, of which there are never more than four times `max_terms`: when
/// there would be,
///         those of the fewest texts are forgotten. So counts of rare terms are lower bounds then, as in
///         lossy counting; with less than that many terms all counts are exact.
class VocabularyCounter {
 public:
  /// `max_terms`: how many are kept in the end, those of the most texts.
  explicit VocabularyCounter(std::size_t max_terms = kMaxTerms) : max_terms_(max_terms) {}
  static constexpr std::size_t kMaxTerms = 2'000'000;

  void Add(std::string_view text);
  /// With idf(t) = ln((1 + N) / (1 + texts that hold t)) + 1 over N texts.
  /// Errors: kInvalidArgument when there is no word at all.
  Result<Vocabulary> Finish();
  /// Whether terms were forgotten or left out.
  [[nodiscard]] bool pruned() const { return pruned_; }

 private:
  void Forget();

  const std::size_t max_terms_;
  std::unordered_map<std::string, std::int64_t> counts_;
  std::int64_t texts_ = 0;
  std::int64_t floor_ = 0;  // terms of so few texts were forgotten
  bool pruned_ = false;
  std::string lowered_;
};

/// The vocabulary of texts in memory.
Result<Vocabulary> CountVocabulary(const std::vector<LabelledText>& rows);

/// Texts as the model sees them, and what they are.
struct LabelledBags {
  TextBags bags;
  std::vector<std::int64_t> labels;  // [texts]
};

/// The handler's own features, of many texts.
LabelledBags EncodeRows(const std::vector<LabelledText>& rows, const Vocabulary& vocabulary);

}  // namespace serve::trainer
