#include "serve/runtime/torchscript/torchscript_runtime.h"

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include "serve/runtime/torchscript/error_text.h"
#include "serve/runtime/torchscript/map_weights.h"
#include "serve/runtime/torchscript/tensors.h"
#include "serve/runtime/torchscript/variants.h"

namespace serve {
namespace {

/// The shapes of a call's inputs, one behind the other.
std::vector<std::int64_t> ShapeKey(const std::vector<Tensor>& inputs) {
  std::vector<std::int64_t> key;
  for (const Tensor& input : inputs) {
    key.insert(key.end(), input.shape.begin(), input.shape.end());
    key.push_back(-1);
  }
  return key;
}

/// bfloat16 outputs as float32, so that an answer has the same type in every variant.
void Widen(RunOutputs& outputs) {
  for (Tensor& tensor : outputs.tensors) {
    if (tensor.dtype != DType::kBFloat16) continue;
    Tensor wide = Tensor::Empty(DType::kFloat32, tensor.shape);
    const auto* from = tensor.as<std::uint16_t>();
    auto* to = wide.as<std::uint32_t>();
    for (std::int64_t i = 0; i < tensor.elements(); ++i) to[i] = std::uint32_t{from[i]} << 16;
    tensor = std::move(wide);
  }
}

class TorchScriptRuntime final : public Runtime {
 public:
  /// `saved`: as it was loaded; `recipe`: how this one runs it.
  TorchScriptRuntime(const torch::jit::Module& saved, const Recipe& recipe)
      : recipe_(recipe), module_(Prepare(saved, recipe)), forward_(module_.get_method("forward")) {
    // The profiling executor compiles during the first calls, and again when a shape changes: seconds in
    // which a request waits, for little. Where it pays, each shape has an executor of its own, see
    // Specialize.
    torch::jit::toGraphFunction(forward_.function())
        ._set_initial_executor_execution_mode(torch::jit::ExecutorExecutionMode::SIMPLE);
    const c10::FunctionSchema& schema = forward_.function().getSchema();
    most_inputs_ = schema.arguments().size() - 1;  // without self
    takes_list_ = most_inputs_ > 0 && schema.arguments()[1].type()->isSubtypeOf(*c10::ListType::ofTensors());
    for (std::size_t i = 1; i < schema.arguments().size(); ++i) {
      if (!schema.arguments()[i].default_value()) ++least_inputs_;
    }
  }

  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override {
    if (inputs.size() < least_inputs_ || inputs.size() > most_inputs_) {
      return Failed(fmt::format("the model's forward takes {} tensors, the request has {}", most_inputs_,
                                inputs.size()));
    }
    torch::jit::GraphExecutor* executor = nullptr;
    if (!executors_.empty()) {
      const auto found = executors_.find(ShapeKey(inputs));
      if (found != executors_.end()) executor = found->second.get();
    }
    try {
      return RunWith(executor, inputs);
    } catch (const c10::Error& error) {
      return Failed(ShortTorchError(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      return Failed(ShortTorchError(error.what()));
    }
  }

  void PrepareThread(int threads) override { UseThreads(threads); }

  std::vector<std::string> Variants(Precision precision) const override {
    std::vector<std::string> names;
    if (recipe_.name != kPlain.name)
      return names;  // a variant does not keep the module that it was made from
    for (const Recipe& recipe : RecipesFor(module_, precision)) names.emplace_back(recipe.name);
    return names;
  }

  Result<std::shared_ptr<Runtime>> MakeVariant(const std::string& name) const override {
    const Recipe* recipe = FindRecipe(name);
    if (recipe == nullptr) return Failed(fmt::format("there is no variant named `{}`", name));
    try {
      const c10::InferenceMode guard;
      return std::shared_ptr<Runtime>(std::make_shared<TorchScriptRuntime>(module_, *recipe));
    } catch (const std::exception& error) {
      return Failed(ShortTorchError(error.what()));
    }
  }

  Status Specialize(const std::vector<Tensor>& inputs) override {
    if (!recipe_.profile) return {};
    try {
      auto executor = std::make_unique<torch::jit::GraphExecutor>(
          torch::jit::toGraphFunction(forward_.function()).graph()->copy(), "forward",
          torch::jit::ExecutorExecutionMode::PROFILING);
      // Observed, compiled, and run once as compiled.
      for (int i = 0; i < 3; ++i) {
        if (const Result<RunOutputs> outputs = RunWith(executor.get(), inputs); !outputs)
          return outputs.error();
      }
      executors_[ShapeKey(inputs)] = std::move(executor);
      return {};
    } catch (const std::exception& error) {
      return Failed(ShortTorchError(error.what()));
    }
  }

  bool WantsSpecializedShapes() const override { return recipe_.profile; }
  bool LowerPrecision() const override { return recipe_.lower_precision(); }
  std::string Engine() const override { return std::string("libtorch ") + TORCH_VERSION; }

 private:
  /// `executor`: null for the method's own. Throws what libtorch throws.
  Result<RunOutputs> RunWith(torch::jit::GraphExecutor* executor, const std::vector<Tensor>& inputs) {
    const c10::InferenceMode guard;
    const RecipeScope scope(recipe_);
    std::vector<c10::IValue> stack;
    stack.reserve(inputs.size() + 1);
    if (executor != nullptr) stack.emplace_back(module_._ivalue());
    for (const Tensor& input : inputs) {
      at::Tensor tensor = Borrow(input);
      if (recipe_.bfloat16 && tensor.is_floating_point()) tensor = tensor.to(at::kBFloat16);
      if (recipe_.channels_last && tensor.dim() == 4)
        tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
      if (takes_list_ && &input == inputs.data() && tensor.dim() > 0) {
        stack.emplace_back(c10::List<at::Tensor>(tensor.unbind(0)));  // detectors take a list of pictures
      } else {
        stack.emplace_back(std::move(tensor));
      }
    }
    if (executor == nullptr) return Finish(forward_(std::move(stack)));
    executor->run(stack);
    return Finish(stack.back());
  }

  Result<RunOutputs> Finish(const c10::IValue& value) const {
    Result<RunOutputs> outputs = Unpack(value);
    if (outputs && recipe_.lower_precision()) Widen(*outputs);
    return outputs;
  }

  const Recipe recipe_;
  const torch::jit::Module module_;
  torch::jit::Method forward_;
  std::map<std::vector<std::int64_t>, std::unique_ptr<torch::jit::GraphExecutor>> executors_;  // by ShapeKey
  bool takes_list_ = false;  // forward(List[Tensor], ...): one element for each row of the first input
  std::size_t least_inputs_ = 0;
  std::size_t most_inputs_ = 0;
};

}  // namespace

bool TorchScriptFactory::Accepts(const std::filesystem::path& file) const {
  return file.extension() == ".pt" || file.extension() == ".pth";
}

Result<std::unique_ptr<Runtime>> TorchScriptFactory::Load(const std::filesystem::path& file,
                                                          const RuntimeOptions& options) {
  try {
    torch::jit::Module module =
        options.own_file ? LoadMapped(file) : torch::jit::load(file.string(), c10::kCPU);
    module.eval();
    if (!module.find_method("forward")) {
      return InvalidArgument("the module has no method named forward");
    }
    return std::unique_ptr<Runtime>(std::make_unique<TorchScriptRuntime>(module, kPlain));
  } catch (const c10::Error& error) {
    std::string text = ShortTorchError(error.what_without_backtrace());
    if (text.find("constants.pkl") != std::string::npos ||
        text.find("PytorchStreamReader") != std::string::npos) {
      text +=
          " (the file is not a complete TorchScript archive; a state_dict or a whole pickled module must be "
          "exported first: torch.jit.script(model).save(\"model.pt\"))";
    }
    return InvalidArgument(std::move(text));
  } catch (const std::exception& error) {
    return InvalidArgument(ShortTorchError(error.what()));
  }
}

const char* LibtorchVersion() { return TORCH_VERSION; }

}  // namespace serve
