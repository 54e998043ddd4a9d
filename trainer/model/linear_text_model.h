#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "handlers/text/text_features.h"

namespace serve::trainer {

/// A row of class scores for every term. For a bag of terms with weights w:
///   logits = Σ w · weight[term] + bias,  probabilities = softmax(logits)
struct LinearTextModel {
  std::size_t classes = 0;
  std::vector<float> weight;  // [terms, classes]
  std::vector<float> bias;    // [classes]

  [[nodiscard]] std::size_t terms() const { return weight.size() / classes; }
};

/// [texts, classes], computed here without libtorch, in double precision: what the exported module is held
/// against.
std::vector<double> Logits(const LinearTextModel& model, const TextBags& bags);
/// Softmax of each row, in place.
void Softmax(std::vector<double>& rows, std::size_t classes);

/// Multiplies all logits by `scale`: the same classes win, with more (> 1) or less confidence.
LinearTextModel Scaled(LinearTextModel model, float scale);

/// SHA-256 of the weights and the bias as little-endian float32: equal digests mean the same model.
std::string WeightsDigest(const LinearTextModel& model);

}  // namespace serve::trainer
