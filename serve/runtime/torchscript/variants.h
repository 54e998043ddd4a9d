#pragma once

#include <string_view>
#include <vector>

#include <torch/csrc/jit/api/module.h>

#include "serve/base/status.h"
#include "serve/runtime/runtime.h"

namespace serve {

/// One way to run a TorchScript module. None is the fastest for every model, which is why they are timed.
struct Recipe {
  std::string_view name;
  bool freeze = false;         // weights become constants of the graph, batch norms are folded
  bool optimize = false;       // optimize_for_inference: convolutions and linears in oneDNN's own layouts
  bool pack = false;           // PackWeights: oneDNN's layouts and fused activations, for any shape
  bool winograd = false;       // with `pack`: 3x3 convolutions by Winograd's algorithm
  bool channels_last = false;  // weights and pictures with the channels innermost
  bool profile = false;        // the profiling executor, once for each shape: see TorchScriptRuntime
  bool fuse = false;           // oneDNN Graph: several operators become one; needs `profile`
  bool autocast = false;       // bfloat16 where PyTorch's autocast uses it
  bool bfloat16 = false;       // weights and inputs in bfloat16

  [[nodiscard]] bool lower_precision() const { return autocast || bfloat16; }
};

/// The module as it was saved, without the profiling executor: ready at the first call.
inline constexpr Recipe kPlain{"plain"};

/// What is worth trying for `module`, simplest first, without kPlain.
std::vector<Recipe> RecipesFor(const torch::jit::Module& module, Precision precision);
/// nullptr: no recipe has this name.
const Recipe* FindRecipe(std::string_view name);

/// The module prepared as the recipe says; `module` stays as it is and shares what weights it can.
/// Throws c10::Error when libtorch refuses.
torch::jit::Module Prepare(const torch::jit::Module& module, const Recipe& recipe);

/// While it lives, what this thread compiles and runs follows the recipe. oneDNN Graph is switched for the
/// whole process in libtorch; here it is a pass that looks at this thread, so that models differ side by
/// side.
class RecipeScope {
 public:
  explicit RecipeScope(const Recipe& recipe);
  ~RecipeScope();
  RecipeScope(const RecipeScope&) = delete;
  RecipeScope& operator=(const RecipeScope&) = delete;

 private:
  const bool autocast_;
};

}  // namespace serve
