#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/tensor.h"

namespace serve {

struct RuntimeOptions {
  int intra_op_threads = 1;  // threads one Run may use inside an operator
};

/// What the module answered: tensors in order; `names` is filled when it answered with a dictionary.
struct RunOutputs {
  std::vector<Tensor> tensors;
  std::vector<std::string> names;
};

/// "Run this artifact on these tensors." One copy of the weights, shared by every worker of a version.
///
/// Threads: Run from many threads at once.
/// Errors:  kPredictionFailed with the engine's own reason, shortened to what helps; no exception leaves it.
/// Memory:  inputs are read in place and must stay alive during the call; outputs own theirs.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Result<RunOutputs> Run(const std::vector<Tensor>& inputs) = 0;
  /// Called once on each worker thread before its first Run.
  virtual void PrepareThread() {}
};

/// Loads one kind of artifact. serve/app hands the factories that were built in to serve/model.
class RuntimeFactory {
 public:
  virtual ~RuntimeFactory() = default;
  /// Whether this factory takes the file, told by its name (".pt").
  [[nodiscard]] virtual bool Accepts(const std::filesystem::path& file) const = 0;
  virtual Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                                const RuntimeOptions& options) = 0;
};

}  // namespace serve
