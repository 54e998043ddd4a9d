#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trainer/data/bag_chunks.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

struct ClassScores {
  std::size_t rows = 0;  // of this class
  double precision = 0;  // 0 when nothing was taken for this class
  double recall = 0;     // 0 when there are no rows
  double f1 = 0;
};

/// How a model does on labelled texts.
struct Evaluation {
  std::size_t rows = 0;
  double accuracy = 0;
  double log_loss = 0;  // mean -ln of the true class's probability
  double macro_f1 = 0;  // mean over the classes
  std::vector<ClassScores> classes;
  std::vector<std::vector<std::size_t>> confusion;  // [true class][predicted class]
};

/// `data` must not be empty.
Evaluation Evaluate(const LinearTextModel& model, const BagChunks& data);

/// The scores of each class, the confusion matrix, the accuracy: lines for people.
std::string EvaluationText(const Evaluation& evaluation, const std::vector<std::string>& labels);
nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation, const std::vector<std::string>& labels);

}  // namespace serve::trainer
