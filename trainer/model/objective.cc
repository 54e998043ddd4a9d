#include "trainer/model/objective.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace serve::trainer {

Objective ComputeObjective(const LinearTextModel& model, const BagChunks& data,
                           const std::vector<double>& class_weights) {
  const std::size_t classes = model.classes;
  Objective objective;
  objective.weight_gradient.assign(model.weight.size(), 0);
  objective.bias_gradient.assign(classes, 0);
  double total = 0;
  std::size_t right = 0;
  data.ForEach([&](const LabelledBags& chunk) {
    std::vector<double> rows = Logits(model, chunk.bags);
    for (std::size_t text = 0; text < chunk.labels.size(); ++text) {
      double* const row = rows.data() + text * classes;
      const auto label = static_cast<std::size_t>(chunk.labels[text]);
      const double weight = class_weights.empty() ? 1 : class_weights[label];
      const double most = *std::max_element(row, row + classes);
      right += row[label] == most ? 1 : 0;
      double sum = 0;
      for (std::size_t c = 0; c < classes; ++c) sum += std::exp(row[c] - most);
      objective.loss += weight * (std::log(sum) + most - row[label]);
      total += weight;
      for (std::size_t c = 0; c < classes; ++c) {
        row[c] = weight * (std::exp(row[c] - most) / sum - (c == label ? 1 : 0));
        objective.bias_gradient[c] += row[c];
      }
      for (std::size_t i = chunk.bags.Begin(text); i < chunk.bags.End(text); ++i) {
        double* const term =
            objective.weight_gradient.data() + static_cast<std::size_t>(chunk.bags.ids[i]) * classes;
        for (std::size_t c = 0; c < classes; ++c) term[c] += chunk.bags.weights[i] * row[c];
      }
    }
  });
  objective.loss /= total;
  objective.accuracy = static_cast<double>(right) / static_cast<double>(data.rows());
  for (double& value : objective.weight_gradient) value /= total;
  for (double& value : objective.bias_gradient) value /= total;
  return objective;
}

std::vector<double> BalancedWeights(const std::vector<std::size_t>& class_rows) {
  const auto rows =
      static_cast<double>(std::accumulate(class_rows.begin(), class_rows.end(), std::size_t{0}));
  std::vector<double> weights;
  weights.reserve(class_rows.size());
  for (const std::size_t count : class_rows) {
    weights.push_back(
        count == 0 ? 1 : rows / (static_cast<double>(class_rows.size()) * static_cast<double>(count)));
  }
  return weights;
}

}  // namespace serve::trainer
