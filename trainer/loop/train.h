#pragma once

#include <functional>
#include <vector>

#include "serve/base/status.h"
#include "trainer/data/features.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

struct TrainOptions {
  int max_iterations = 20;  // of L-BFGS, 0 or more; 0 answers with the start
  double l2 = 3e-4;         // how strongly the weights are held to the start, 0 or more
  int threads = 1;          // of libtorch; 0: all processors
};

/// The state after one iteration; number 0 is the start.
struct Iteration {
  int number = 0;
  double loss = 0;  // mean cross-entropy on the training rows + l2 / 2 · Σ (weight - start)²
  double training_accuracy = 0;
  double validation_accuracy = 0;
};

struct TrainResult {
  LinearTextModel model;  // of the best iteration: highest validation accuracy, then lowest loss
  int best_iteration = 0;
  std::vector<Iteration> history;  // from number 0
  bool stopped_early = false;      // `stop` said so
};

/// Fits weight and bias by full-batch L-BFGS (strong Wolfe line search, history of 10): softmax regression
/// whose weights are pulled towards `start` instead of towards 0. Ends after max_iterations or when the loss
/// does not change any more.
///
/// `stop` is asked before each iteration; `progress` is told after each one, the start included.
/// Equal input gives equal weights on one machine with one number of threads; nothing is drawn at random.
/// Errors:  kInternal with libtorch's reason; kInvalidArgument when the loss is no finite number.
/// Threads: sets libtorch's number of threads for the process.
Result<TrainResult> Train(const LabelledBags& training, const LabelledBags& validation,
                          const LinearTextModel& start, const TrainOptions& options,
                          const std::function<bool()>& stop,
                          const std::function<void(const Iteration&)>& progress);

}  // namespace serve::trainer
