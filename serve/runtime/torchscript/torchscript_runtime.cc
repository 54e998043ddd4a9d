#include "serve/runtime/torchscript/torchscript_runtime.h"

#include <exception>
#include <optional>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include "serve/runtime/torchscript/error_text.h"

namespace serve {
namespace {

struct TypePair {
  DType ours;
  c10::ScalarType theirs;
};
constexpr TypePair kTypes[] = {
    {DType::kFloat32, c10::ScalarType::Float}, {DType::kFloat64, c10::ScalarType::Double},
    {DType::kFloat16, c10::ScalarType::Half},  {DType::kBFloat16, c10::ScalarType::BFloat16},
    {DType::kInt64, c10::ScalarType::Long},    {DType::kInt32, c10::ScalarType::Int},
    {DType::kInt16, c10::ScalarType::Short},   {DType::kInt8, c10::ScalarType::Char},
    {DType::kUInt8, c10::ScalarType::Byte},    {DType::kBool, c10::ScalarType::Bool},
};

c10::ScalarType ToTorch(DType dtype) { return kTypes[static_cast<std::size_t>(dtype)].theirs; }

std::optional<DType> FromTorch(c10::ScalarType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.theirs == type) return pair.ours;
  }
  return std::nullopt;
}

Status Failed(std::string message) {
  return {Code::kPredictionFailed, "Prediction failed: " + std::move(message)};
}

/// Our view of a libtorch tensor's memory; keeps the tensor alive.
Result<Tensor> Wrap(const at::Tensor& tensor) {
  const std::optional<DType> dtype = FromTorch(tensor.scalar_type());
  if (!dtype) {
    return Failed(fmt::format("the model answered with a tensor of type {}, which has no JSON form",
                              c10::toString(tensor.scalar_type())));
  }
  auto dense = std::make_shared<at::Tensor>(tensor.contiguous());
  Tensor wrapped{*dtype, dense->sizes().vec(), nullptr};
  wrapped.data = std::shared_ptr<std::byte>(dense, static_cast<std::byte*>(dense->data_ptr()));
  return wrapped;
}

Status Append(const c10::IValue& value, std::string name, RunOutputs& outputs) {
  if (!value.isTensor()) {
    return Failed(fmt::format("the model answered with {} inside its answer; only tensors are allowed there",
                              value.type()->repr_str()));
  }
  Result<Tensor> tensor = Wrap(value.toTensor());
  if (!tensor) return tensor.error();
  outputs.tensors.push_back(std::move(*tensor));
  if (!name.empty()) outputs.names.push_back(std::move(name));
  return {};
}

Result<RunOutputs> Unpack(const c10::IValue& value) {
  RunOutputs outputs;
  Status status;
  if (value.isTensor()) {
    status = Append(value, "", outputs);
  } else if (value.isTuple()) {
    for (const c10::IValue& element : value.toTupleRef().elements()) {
      if (status.ok()) status = Append(element, "", outputs);
    }
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      if (status.ok()) status = Append(element, "", outputs);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      if (!entry.key().isString()) {
        status = Failed(
            fmt::format("the model answered with {}; the keys must be text", value.type()->repr_str()));
      }
      if (status.ok()) status = Append(entry.value(), entry.key().toStringRef(), outputs);
    }
  } else {
    status =
        Failed(fmt::format("the model answered with {}; it must answer with a tensor, a tuple or list of "
                           "tensors, or a dictionary of "
                           "tensors by name",
                           value.type()->repr_str()));
  }
  if (!status.ok()) return status;
  if (outputs.tensors.empty()) return Failed("the model answered with no tensor");
  return outputs;
}

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
        // The deleter keeps our memory alive for a module that answers with (a view of) its input.
        stack.emplace_back(at::from_blob(
            input.data.get(), input.shape, [keep = input.data](void*) {},
            at::TensorOptions().dtype(ToTorch(input.dtype))));
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
