#include "trainer/model/linear_text_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>

#include "model_store/archive/sha256.h"

namespace serve::trainer {

std::vector<double> Logits(const LinearTextModel& model, const TextBags& bags) {
  const std::size_t classes = model.classes;
  std::vector<double> logits(bags.texts() * classes);
  for (std::size_t text = 0; text < bags.texts(); ++text) {
    double* const row = logits.data() + text * classes;
    std::copy(model.bias.begin(), model.bias.end(), row);
    for (std::size_t i = bags.Begin(text); i < bags.End(text); ++i) {
      const float* const scores = model.weight.data() + static_cast<std::size_t>(bags.ids[i]) * classes;
      for (std::size_t c = 0; c < classes; ++c) row[c] += static_cast<double>(bags.weights[i]) * scores[c];
    }
  }
  return logits;
}

void Softmax(std::vector<double>& rows, std::size_t classes) {
  for (std::size_t first = 0; first < rows.size(); first += classes) {
    double* const row = rows.data() + first;
    const double most = *std::max_element(row, row + classes);
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) sum += row[c] = std::exp(row[c] - most);
    for (std::size_t c = 0; c < classes; ++c) row[c] /= sum;
  }
}

LinearTextModel Scaled(LinearTextModel model, float scale) {
  for (float& value : model.weight) value *= scale;
  for (float& value : model.bias) value *= scale;
  return model;
}

std::string WeightsDigest(const LinearTextModel& model) {
  static_assert(std::endian::native == std::endian::little, "the digest is of little-endian bytes");
  Sha256 digest;
  for (const std::vector<float>* values : {&model.weight, &model.bias}) {
    digest.Update({reinterpret_cast<const char*>(values->data()), values->size() * sizeof(float)});
  }
  return digest.Finish();
}

}  // namespace serve::trainer
