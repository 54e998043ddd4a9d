#pragma once

#include <memory>

#include "serve/runtime/runtime.h"

namespace serve {

/// Runs AOTInductor packages (`torch._inductor.aoti_compile_and_package`, ending .pt2) on the CPU.
///
/// A package checks nothing: an input of another type or size than it was compiled for makes it read and
/// write memory that is not its own. `RuntimeOptions::inputs` and `batch` must therefore be declared, and
/// every Run compares number, type, rank and each declared size of its inputs with them before the package is
/// called; a declared size of -1 is passed on unchecked. Load compares the declaration with what the package
/// was compiled for, where its sources tell (compiled_inputs.h).
///
/// Batch:   dimension 0 of every input and of every output. Fewer rows than the smallest declared are filled
/// up
///          with copies of the first row, and the added rows are cut off the outputs.
/// Errors:  Load: kInvalidArgument for a file that is no package, does not fit this machine or libtorch, or
/// is not
///          declared. Run: kInvalidArgument for inputs that are not as declared, else kPredictionFailed.
/// Threads: Run from many threads at once: the package keeps one set of weights and several instances, lends
/// an
///          instance to each call under a lock, and lets a call wait when all are lent. The first call folds
///          constants while the others wait.
/// Disk:    Load unpacks into a folder below `RuntimeOptions::scratch` and removes it before it returns, also
/// after
///          an error; the mapped library does not need its file. Nothing is compiled.
/// Source:  torch/csrc/inductor/aoti_package/model_package_loader.h of libtorch 2.13.
class AotiFactory final : public RuntimeFactory {
 public:
  /// Packages under the ending .pt too, which Load refuses with a better text than TorchScript's.
  [[nodiscard]] bool Accepts(const std::filesystem::path& file) const override;
  Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                        const RuntimeOptions& options) override;
};

}  // namespace serve
