#pragma once

#include <functional>
#include <utility>

#include "serve/runtime/runtime.h"

namespace serve {

/// A model without libtorch: a function of the inputs. For tests of what stands above the runtime, also under
/// ThreadSanitizer, which cannot see into libtorch. The function must be safe to call from several threads.
class FakeRuntime final : public Runtime {
 public:
  using Function = std::function<Result<RunOutputs>(const std::vector<Tensor>&)>;
  explicit FakeRuntime(Function function) : function_(std::move(function)) {}
  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override { return function_(inputs); }

  /// Answers with a copy of its first input.
  static Result<RunOutputs> Echo(const std::vector<Tensor>& inputs);

 private:
  const Function function_;
};

/// Takes files that end in ".fake"; what stands in them does not matter.
class FakeRuntimeFactory final : public RuntimeFactory {
 public:
  explicit FakeRuntimeFactory(FakeRuntime::Function function) : function_(std::move(function)) {}
  [[nodiscard]] bool Accepts(const std::filesystem::path& file) const override {
    return file.extension() == ".fake";
  }
  Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                        const RuntimeOptions& options) override;

 private:
  const FakeRuntime::Function function_;
};

}  // namespace serve
