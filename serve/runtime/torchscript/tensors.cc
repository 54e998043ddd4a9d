#include "serve/runtime/torchscript/tensors.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>

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

std::optional<DType> FromTorch(c10::ScalarType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.theirs == type) return pair.ours;
  }
  return std::nullopt;
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

bool IsDictionary(const c10::IValue& value) { return value.isGenericDict(); }

Status AppendDictionary(const c10::IValue& value, RunOutputs& outputs) {
  for (const auto& entry : value.toGenericDict()) {
    if (!entry.key().isString()) {
      return Failed(
          fmt::format("the model answered with {}; the keys must be text", value.type()->repr_str()));
    }
    Status status = Append(entry.value(), entry.key().toStringRef(), outputs);
    if (!status.ok()) return status;
  }
  return {};
}

/// What a scripted detector answers: a list with a dictionary for each picture, behind the losses of
/// training. The dictionaries come one behind the other.
bool IsDictionaries(const c10::IValue& value) {
  if (!value.isList()) return false;
  const auto list = value.toListRef();
  return !list.empty() && std::all_of(list.begin(), list.end(), IsDictionary);
}

}  // namespace

Status Failed(std::string message) {
  return {Code::kPredictionFailed, "Prediction failed: " + std::move(message)};
}

c10::ScalarType ToTorch(DType dtype) { return kTypes[static_cast<std::size_t>(dtype)].theirs; }

at::Tensor Borrow(const Tensor& tensor) {
  // The deleter keeps our memory alive for a module that answers with (a view of) its input.
  return at::from_blob(
      tensor.data.get(), tensor.shape, [keep = tensor.data](void*) {},
      at::TensorOptions().dtype(ToTorch(tensor.dtype)));
}

void UseThreads(int threads) {
  thread_local int current = 0;
  if (current == threads) return;
  at::set_num_threads(threads);
  current = threads;
}

Result<RunOutputs> Unpack(const c10::IValue& value) {
  RunOutputs outputs;
  Status status;
  if (value.isTensor()) {
    status = Append(value, "", outputs);
  } else if (IsDictionaries(value)) {
    for (const c10::IValue& element : value.toListRef()) {
      if (status.ok()) status = AppendDictionary(element, outputs);
    }
  } else if (value.isTuple() && value.toTupleRef().elements().size() == 2 &&
             IsDictionaries(value.toTupleRef().elements()[1])) {
    return Unpack(value.toTupleRef().elements()[1]);
  } else if (value.isTuple()) {
    for (const c10::IValue& element : value.toTupleRef().elements()) {
      if (status.ok()) status = Append(element, "", outputs);
    }
  } else if (value.isList()) {
    for (const c10::IValue& element : value.toListRef()) {
      if (status.ok()) status = Append(element, "", outputs);
    }
  } else if (value.isGenericDict()) {
    status = AppendDictionary(value, outputs);
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

}  // namespace serve
