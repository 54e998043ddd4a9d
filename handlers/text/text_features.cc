#include "handlers/text/text_features.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "handlers/text/tokenizer.h"

namespace serve {

void AppendText(std::string_view text, const Vocabulary& vocabulary, TextBags& bags) {
  bags.offsets.push_back(static_cast<std::int64_t>(bags.ids.size()));
  std::string lowered;
  std::vector<std::int32_t> found;
  for (const std::string_view word : Tokenize(text, lowered)) {
    if (const auto id = vocabulary.IdOf(word)) found.push_back(*id);
  }
  std::sort(found.begin(), found.end());
  std::vector<double> weights;
  double squares = 0;
  for (std::size_t first = 0; first < found.size();) {
    std::size_t end = first + 1;
    while (end < found.size() && found[end] == found[first]) ++end;
    const double weight = (1 + std::log(static_cast<double>(end - first))) * vocabulary.Idf(found[first]);
    squares += weight * weight;
    weights.push_back(weight);
    bags.ids.push_back(found[first]);
    first = end;
  }
  const double length = std::sqrt(squares);
  for (const double weight : weights) bags.weights.push_back(static_cast<float>(weight / length));
}

}  // namespace serve
