#pragma once

#include <memory>
#include <string>

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>

namespace serve {

/// Besides `torch` it knows `prim`, whose TimePoint() is the clock, in nanoseconds.
struct ClockResolver : torch::jit::Resolver {
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction&,
                                                         const torch::jit::SourceRange&) override {
    if (name == "torch") return std::make_shared<torch::jit::BuiltinModule>("aten");
    if (name == "prim") return std::make_shared<torch::jit::BuiltinModule>("prim");
    return nullptr;
  }
};

}  // namespace serve
