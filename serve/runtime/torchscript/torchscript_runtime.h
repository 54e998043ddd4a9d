#pragma once

#include <memory>

#include "serve/runtime/runtime.h"

namespace serve {

/// Runs TorchScript files (`torch.jit.save`, ending .pt or .pth) on the CPU.
///
/// The module is called as `forward(inputs…)` and must answer with a tensor, a tuple or list of tensors, or a
/// dictionary of text → tensor. A module that throws costs its own call an error.
class TorchScriptFactory final : public RuntimeFactory {
 public:
  [[nodiscard]] bool Accepts(const std::filesystem::path& file) const override;
  Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                        const RuntimeOptions& options) override;
};

/// Version of the libtorch that is linked, e.g. "2.13.0".
const char* LibtorchVersion();

}  // namespace serve
