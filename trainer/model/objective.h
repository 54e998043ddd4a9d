#pragma once

#include <vector>

#include "trainer/data/bag_chunks.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

/// How a model does on the rows it is fitted to.
struct Objective {
  double loss = 0;  // mean cross-entropy, each row with the weight of its class
  double accuracy = 0;
  std::vector<double> weight_gradient;  // [terms, classes], of the loss
  std::vector<double> bias_gradient;    // [classes]
};

/// One pass over the rows, in their order and in double precision: where a chunk ends makes no difference.
/// `class_weights` as of TrainOptions.
Objective ComputeObjective(const LinearTextModel& model, const BagChunks& data,
                           const std::vector<double>& class_weights);

/// Weights that make all classes count the same: rows / (classes · rows of the class). A class without
/// rows: 1.
std::vector<double> BalancedWeights(const std::vector<std::size_t>& class_rows);

}  // namespace serve::trainer
