#include "trainer/data/features.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <string_view>

#include "handlers/text/tokenizer.h"

namespace serve::trainer {

Result<Vocabulary> CountVocabulary(const std::vector<LabelledText>& rows) {
  std::map<std::string, std::int64_t, std::less<>> counts;  // bytewise order: that of the ids
  std::string lowered;
  for (const LabelledText& row : rows) {
    std::vector<std::string_view> words = Tokenize(row.text, lowered);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (const std::string_view word : words) {
      if (word.size() > kMaxTermBytes) continue;  // no word of a language; the file could not hold it
      const auto found = counts.find(word);
      if (found == counts.end()) {
        counts.emplace(word, 1);
      } else {
        ++found->second;
      }
    }
  }
  const auto documents = static_cast<double>(rows.size());
  std::vector<Term> terms;
  terms.reserve(counts.size());
  for (const auto& [term, count] : counts) {
    terms.push_back({term, std::log((1 + documents) / (1 + static_cast<double>(count))) + 1});
  }
  return Vocabulary::Make(std::move(terms), static_cast<std::int64_t>(rows.size()));
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
