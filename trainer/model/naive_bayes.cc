#include "trainer/model/naive_bayes.h"

#include <cmath>
#include <numeric>
#include <vector>

namespace serve::trainer {

LinearTextModel ComplementNaiveBayes(const BagChunks& data, std::size_t terms, std::size_t classes,
                                     double smoothing, const std::vector<double>& class_weights) {
  std::vector<double> counts(terms * classes);
  data.ForEach([&](const LabelledBags& chunk) {
    const TextBags& bags = chunk.bags;
    for (std::size_t text = 0; text < bags.texts(); ++text) {
      const auto label = static_cast<std::size_t>(chunk.labels[text]);
      const double weight = class_weights.empty() ? 1 : class_weights[label];
      for (std::size_t i = bags.Begin(text); i < bags.End(text); ++i)
        counts[static_cast<std::size_t>(bags.ids[i]) * classes + label] += weight * bags.weights[i];
    }
  });
  std::vector<double> sums(classes);
  for (std::size_t t = 0; t < terms; ++t) {
    double* const row = counts.data() + t * classes;
    const double all = std::accumulate(row, row + classes, 0.0);
    for (std::size_t c = 0; c < classes; ++c) sums[c] += row[c] = all - row[c] + smoothing;
  }
  LinearTextModel model{classes, std::vector<float>(terms * classes), std::vector<float>(classes)};
  std::vector<double> scores(classes);
  for (std::size_t t = 0; t < terms; ++t) {
    double mean = 0;
    for (std::size_t c = 0; c < classes; ++c) {
      scores[c] = -std::log(counts[t * classes + c] / sums[c]);
      mean += scores[c] / static_cast<double>(classes);
    }
    for (std::size_t c = 0; c < classes; ++c)
      model.weight[t * classes + c] = static_cast<float>(scores[c] - mean);
  }
  return model;
}

}  // namespace serve::trainer
