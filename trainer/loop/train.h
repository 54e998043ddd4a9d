#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "trainer/data/bag_chunks.h"
#include "trainer/model/linear_text_model.h"

namespace serve::trainer {

struct CheckpointOptions {
  std::filesystem::path file;  // empty: none is written
  int every = 5;               // iterations, above 0
  bool resume = false;         // go on from the file, if there is one
  std::string fingerprint;     // of data and options: a checkpoint of another one is refused
};

struct TrainOptions {
  int max_iterations = 20;            // of L-BFGS, 0 or more; 0 answers with the start
  int patience = 0;                   // ends after so many iterations without a better one; 0: never
  double l2 = 3e-4;                   // how strongly the weights are held to the start, 0 or more
  int threads = 1;                    // of libtorch; 0: all processors
  std::vector<double> class_weights;  // what a row of each class counts, above 0; empty: 1 each
  CheckpointOptions checkpoint;
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
  std::vector<Iteration> history;  // from number 0, also those before a resume
  bool stopped_early = false;      // `stop` said so
  bool out_of_patience = false;
  int resumed_from = -1;  // the iteration of the checkpoint; -1: none
};

/// Fits weight and bias by full-batch L-BFGS (strong Wolfe line search, history of 10): softmax regression
/// whose weights are pulled towards `start` instead of towards 0. Ends after max_iterations or when the loss
/// does not change any more.
///
/// `stop` is asked before each iteration; `progress` is told after each one, the start included.
/// Equal input gives equal weights on one machine with one number of threads; nothing is drawn at random. A
/// training that was stopped and resumed gives the weights of one that never stopped. Checkpoints are
/// complete or not there: written beside the old one, then renamed over it. One is written when `stop`
///          ends the training, too. The file stays at the end: it is the caller's to remove.
/// Errors:  kInternal with libtorch's reason, or that of a checkpoint that cannot be written;
/// kInvalidArgument for a
///          checkpoint that is damaged or of another fingerprint; kPredictionFailed when the loss is no
///          finite number.
/// Threads: sets libtorch's number of threads for the process.
Result<TrainResult> Train(const BagChunks& training, const BagChunks& validation,
                          const LinearTextModel& start, const TrainOptions& options,
                          const std::function<bool()>& stop,
                          const std::function<void(const Iteration&)>& progress);

}  // namespace serve::trainer
