#include "serve/runtime/torchscript/torchscript_runtime.h"

#include <exception>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include "serve/runtime/torchscript/error_text.h"
#include "serve/runtime/torchscript/tensors.h"

namespace serve {
namespace {

class TorchScriptRuntime final : public Runtime {
 public:
  TorchScriptRuntime(torch::jit::Module module, RuntimeOptions options)
      : module_(std::move(module)), forward_(module_.get_method("forward")), options_(options) {
    const c10::FunctionSchema& schema = forward_.function().getSchema();
    most_inputs_ = schema.arguments().size() - 1;  // without self
    for (std::size_t i = 1; i < schema.arguments().size(); ++i) {
      if (!schema.arguments()[i].default_value()) ++least_inputs_;
    }
  }

  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override {
    if (inputs.size() < least_inputs_ || inputs.size() > most_inputs_) {
      return Failed(fmt::format("the model's forward takes {} tensors, the request has {}", most_inputs_,
                                inputs.size()));
    }
    try {
      const c10::InferenceMode guard;
      std::vector<c10::IValue> stack;
      stack.reserve(inputs.size() + 1);
      for (const Tensor& input : inputs) {
        stack.emplace_back(Borrow(input));
      }
      return Unpack(forward_(std::move(stack)));
    } catch (const c10::Error& error) {
      return Failed(ShortTorchError(error.what_without_backtrace()));
    } catch (const std::exception& error) {
      return Failed(ShortTorchError(error.what()));
    }
  }

  void PrepareThread() override { at::set_num_threads(options_.intra_op_threads); }

 private:
  torch::jit::Module module_;
  torch::jit::Method forward_;
  const RuntimeOptions options_;
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
    torch::jit::Module module = torch::jit::load(file.string(), c10::kCPU);
    module.eval();
    if (!module.find_method("forward")) {
      return InvalidArgument("the module has no method named forward");
    }
    return std::unique_ptr<Runtime>(std::make_unique<TorchScriptRuntime>(std::move(module), options));
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
