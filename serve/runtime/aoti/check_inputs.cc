#include "serve/runtime/aoti/check_inputs.h"

#include <fmt/format.h>

namespace serve {
namespace {

bool Matches(const TensorSpec& spec, const Tensor& tensor) {
  if (tensor.dtype != spec.dtype || tensor.shape.size() != spec.shape.size() + 1) return false;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    const std::int64_t size = tensor.shape[i + 1];
    if (size < 0 || (spec.shape[i] >= 0 && spec.shape[i] != size)) return false;
  }
  return true;
}

}  // namespace

Result<std::int64_t> CheckInputs(const std::vector<Tensor>& inputs, const std::vector<TensorSpec>& declared,
                                 const BatchRange& batch) {
  if (inputs.size() != declared.size()) {
    return InvalidArgument(
        fmt::format("the model takes {} inputs, the request has {}", declared.size(), inputs.size()));
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!Matches(declared[i], inputs[i])) {
      return InvalidArgument(
          fmt::format("the model takes {}, the request has {} {} (the first dimension is the batch)",
                      SpecText(declared[i]), DTypeName(inputs[i].dtype), ShapeText(inputs[i].shape)));
    }
    if (inputs[i].shape[0] != inputs[0].shape[0]) {
      return InvalidArgument(fmt::format("the input {} has {} rows, the input {} has {}", declared[0].name,
                                         inputs[0].shape[0], declared[i].name, inputs[i].shape[0]));
    }
  }
  const std::int64_t rows = inputs.empty() ? 0 : inputs[0].shape[0];
  if (rows < 1 || rows > batch.max) {
    return InvalidArgument(fmt::format(
        "the request has {} rows, the model takes 1 to {} in one call; send fewer in each request", rows,
        batch.max));
  }
  return rows;
}

}  // namespace serve
