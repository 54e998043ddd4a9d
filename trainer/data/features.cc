#include "trainer/data/features.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "handlers/text/tokenizer.h"

namespace serve::trainer {

void VocabularyCounter::Add(std::string_view text) {
  ++texts_;
  std::vector<std::string_view> words = Tokenize(text, lowered_);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  for (const std::string_view word : words) {
    // A longer one is no word of a language; the file could not hold it.
    if (word.size() <= kMaxTermBytes) ++counts_[std::string(word)];
  }
  while (counts_.size() > 4 * max_terms_) Forget();
}

void VocabularyCounter::Forget() {
  pruned_ = true;
  ++floor_;
  std::erase_if(counts_, [this](const auto& term) { return term.second <= floor_; });
}

Result<Vocabulary> VocabularyCounter::Finish() {
  std::vector<std::pair<std::string, std::int64_t>> counted(counts_.begin(), counts_.end());
  counts_.clear();
  if (counted.size() > max_terms_) {
    pruned_ = true;
    const auto more = [](const auto& a, const auto& b) {
      return a.second > b.second || (a.second == b.second && a.first < b.first);
    };
    std::nth_element(counted.begin(), counted.begin() + static_cast<std::ptrdiff_t>(max_terms_),
                     counted.end(), more);
    counted.resize(max_terms_);
  }
  std::sort(counted.begin(), counted.end());  // bytewise: the order of the ids
  const auto documents = static_cast<double>(texts_);
  std::vector<Term> terms;
  terms.reserve(counted.size());
  for (auto& [term, count] : counted) {
    terms.push_back({std::move(term), std::log((1 + documents) / (1 + static_cast<double>(count))) + 1});
  }
  return Vocabulary::Make(std::move(terms), texts_);
}

Result<Vocabulary> CountVocabulary(const std::vector<LabelledText>& rows) {
  VocabularyCounter counter;
  for (const LabelledText& row : rows) counter.Add(row.text);
  return counter.Finish();
}

LabelledBags EncodeRows(const std::vector<LabelledText>& rows, const Vocabulary& vocabulary) {
  LabelledBags encoded;
  for (const LabelledText& row : rows) {
    AppendText(row.text, vocabulary, encoded.bags);
    encoded.labels.push_back(row.label);
  }
  return encoded;
}

}  // namespace serve::trainer
