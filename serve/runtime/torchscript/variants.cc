#include "serve/runtime/torchscript/variants.h"

#include <algorithm>
#include <array>

#include <ATen/autocast_mode.h>
#include <torch/csrc/jit/codegen/onednn/interface.h>
#include <torch/csrc/jit/passes/pass_manager.h>

#include "serve/runtime/torchscript/pack_weights.h"
#include "serve/runtime/torchscript/winograd.h"

namespace serve {
namespace {

constexpr std::array<Recipe, 12> kRecipes = {{
    {.name = "frozen", .freeze = true},
    {.name = "channels_last", .freeze = true, .channels_last = true},
    {.name = "optimized", .freeze = true, .optimize = true},
    {.name = "packed", .freeze = true, .pack = true, .channels_last = true},
    {.name = "winograd", .freeze = true, .pack = true, .winograd = true, .channels_last = true},
    {.name = "profiled", .freeze = true, .profile = true},
    {.name = "onednn_graph", .freeze = true, .channels_last = true, .profile = true, .fuse = true},
    {.name = "bf16_autocast", .freeze = true, .channels_last = true, .autocast = true},
    {.name = "bf16_weights", .freeze = true, .channels_last = true, .bfloat16 = true},
    {.name = "bf16_packed", .freeze = true, .pack = true, .channels_last = true, .bfloat16 = true},
    {.name = "bf16_winograd",
     .freeze = true,
     .pack = true,
     .winograd = true,
     .channels_last = true,
     .bfloat16 = true},
    {.name = "bf16_onednn_graph",
     .freeze = true,
     .channels_last = true,
     .profile = true,
     .fuse = true,
     .autocast = true},
}};

thread_local bool fuse_on_this_thread = false;

bool HasConvolutions(const torch::jit::Module& module) {
  for (const at::Tensor& parameter : module.parameters()) {
    if (parameter.dim() == 4) return true;
  }
  return false;
}

bool HasWinogradConvolutions(const torch::jit::Module& module) {
  for (const at::Tensor& parameter : module.parameters()) {
    if (FitsWinograd(parameter)) return true;
  }
  return false;
}

}  // namespace

std::vector<Recipe> RecipesFor(const torch::jit::Module& module, Precision precision) {
  const bool convolutions = HasConvolutions(module);
  std::vector<Recipe> recipes;
  for (const Recipe& recipe : kRecipes) {
    if (recipe.lower_precision() && precision == Precision::kFloat32) continue;
    if (!recipe.lower_precision() && precision == Precision::kBFloat16) continue;
    if (recipe.name == "channels_last" && !convolutions) continue;
    if (recipe.winograd && !HasWinogradConvolutions(module)) continue;
    recipes.push_back(recipe);
  }
  return recipes;
}

const Recipe* FindRecipe(std::string_view name) {
  if (name == kPlain.name) return &kPlain;
  const auto found = std::find_if(kRecipes.begin(), kRecipes.end(),
                                  [&](const Recipe& recipe) { return recipe.name == name; });
  return found == kRecipes.end() ? nullptr : &*found;
}

torch::jit::Module Prepare(const torch::jit::Module& module, const Recipe& recipe) {
  torch::jit::Module prepared = module;
  // Both change weights in place, and those of `module` are in use.
  const bool channels_last = recipe.channels_last && HasConvolutions(module);
  if (channels_last || recipe.bfloat16) prepared = module.deepcopy();
  if (recipe.bfloat16) prepared.to(at::kBFloat16);
  if (channels_last) {
    for (const at::Tensor& parameter : prepared.parameters()) {
      if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
  if (recipe.freeze) prepared = torch::jit::freeze(prepared);
  if (recipe.pack) PackWeights(prepared.get_method("forward").graph(), recipe.winograd);
  if (recipe.optimize) prepared = torch::jit::optimize_for_inference(prepared);
  return prepared;
}

RecipeScope::RecipeScope(const Recipe& recipe) : autocast_(recipe.autocast) {
  [[maybe_unused]] static const auto pass =
      torch::jit::registerPrePass([](std::shared_ptr<torch::jit::Graph>& graph) {
        if (fuse_on_this_thread) torch::jit::fuser::onednn::fuseGraph(graph);
      });
  fuse_on_this_thread = recipe.fuse;
  if (!autocast_) return;
  at::autocast::set_autocast_enabled(at::kCPU, true);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  // The cache keeps casts of weights that need gradients only; here it would grow and never help.
  at::autocast::set_autocast_cache_enabled(false);
}

RecipeScope::~RecipeScope() {
  fuse_on_this_thread = false;
  if (!autocast_) return;
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
}

}  // namespace serve
