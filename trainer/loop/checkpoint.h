#pragma once

#include <filesystem>
#include <string>

#include <ATen/Tensor.h>
#include <torch/optim/lbfgs.h>

#include "serve/base/status.h"
#include "trainer/loop/train.h"

namespace serve::trainer {

/// What a training needs to go on.
struct Checkpoint {
  std::string fingerprint;
  TrainResult result;  // so far
  at::Tensor change;   // [terms, classes]; the optimizer's parameters
  at::Tensor bias;     // [classes]
};

/// Replaces the file at once: whoever looks finds the old checkpoint or the new one. Makes its folder.
/// Errors: kInternal.
Status SaveCheckpoint(const std::filesystem::path& file, const Checkpoint& checkpoint,
                      torch::optim::LBFGS& optimizer);

/// Fills `checkpoint`, in place where a tensor is defined already, and the optimizer's memory.
/// Errors: kInvalidArgument: no checkpoint, damaged, or another fingerprint than that of `checkpoint`.
Status LoadCheckpoint(const std::filesystem::path& file, Checkpoint& checkpoint,
                      torch::optim::LBFGS& optimizer);

}  // namespace serve::trainer
