#include "handlers/handler.h"

#include <cstring>

#include <fmt/format.h>

namespace serve {
namespace {

bool SameRow(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && !a.shape.empty() && a.shape.size() == b.shape.size() &&
         std::equal(a.shape.begin() + 1, a.shape.end(), b.shape.begin() + 1);
}

/// Input `index` of all samples, one under the other.
Result<Tensor> JoinRows(const std::vector<const Sample*>& samples, std::size_t index) {
  const Tensor& first = samples.front()->inputs[index];
  std::int64_t rows = 0;
  for (const Sample* sample : samples) {
    const Tensor& next = sample->inputs[index];
    // Equal shape keys promise this; a hash that collides must not become a write out of bounds.
    if (!SameRow(first, next)) {
      return Internal(fmt::format("cannot batch input {}: shapes {} and {} differ beyond dimension 0", index,
                                  ShapeText(first.shape), ShapeText(next.shape)));
    }
    rows += next.shape[0];
  }
  std::vector<std::int64_t> shape = first.shape;
  shape[0] = rows;
  Tensor joined = Tensor::Empty(first.dtype, std::move(shape));
  std::byte* to = joined.data.get();
  for (const Sample* sample : samples) {
    const Tensor& next = sample->inputs[index];
    const std::size_t bytes = next.bytes();
    if (bytes > 0) std::memcpy(to, next.data.get(), bytes);
    to += bytes;
  }
  return joined;
}

}  // namespace

Result<std::vector<Tensor>> Handler::Collate(const std::vector<const Sample*>& samples) const {
  if (samples.empty()) return Internal("an empty batch has nothing to run");
  if (samples.size() == 1) return samples.front()->inputs;
  const std::size_t inputs = samples.front()->inputs.size();
  for (const Sample* sample : samples) {
    if (sample->inputs.size() != inputs) {
      return Internal(fmt::format("cannot batch samples of {} and {} inputs", inputs, sample->inputs.size()));
    }
  }
  std::vector<Tensor> joined;
  joined.reserve(inputs);
  for (std::size_t i = 0; i < inputs; ++i) {
    Result<Tensor> tensor = JoinRows(samples, i);
    if (!tensor) return tensor.error();
    joined.push_back(std::move(*tensor));
  }
  return joined;
}

Result<std::vector<Output>> Handler::Split(const std::vector<Tensor>& outputs,
                                           const std::vector<std::string>& names,
                                           const std::vector<const Sample*>& samples) const {
  std::int64_t total = 0;
  for (const Sample* sample : samples) total += sample->rows;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::vector<std::int64_t>& shape = outputs[i].shape;
    if (shape.empty() || shape[0] != total) {
      return Status{
          Code::kPredictionFailed,
          fmt::format("the model answered {} for a batch of {} (output {} has shape {}); it must keep "
                      "dimension 0",
                      shape.empty() ? "no rows" : fmt::format("{} rows", shape[0]), total, i,
                      ShapeText(shape))};
    }
  }
  std::vector<Output> parts;
  parts.reserve(samples.size());
  std::int64_t first = 0;
  for (const Sample* sample : samples) {
    Output part;
    part.names = names;
    part.tensors.reserve(outputs.size());
    for (const Tensor& output : outputs) part.tensors.push_back(output.Rows(first, sample->rows));
    parts.push_back(std::move(part));
    first += sample->rows;
  }
  return parts;
}

Result<Step> Handler::Next(const Output& /*output*/, Sample /*sample*/) const {
  return Internal("this handler does not generate");
}

Result<Sample> Handler::PrepareTensors(std::vector<InferTensor> /*inputs*/) const {
  return Status{Code::kNotImplemented,
                "the handler of this model takes no KServe v2 tensors; send the request to /predictions"};
}

Result<std::vector<InferTensor>> Handler::RenderTensors(const Output& output) const {
  const std::size_t count = output.tensors.size();
  const std::vector<InferSpec> declared =
      output.names.size() < count ? InferOutputs() : std::vector<InferSpec>();
  std::vector<InferTensor> tensors(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (output.names.size() >= count) {
      tensors[i].name = output.names[i];
    } else if (declared.size() == count) {
      tensors[i].name = declared[i].name;
    } else {
      tensors[i].name = fmt::format("output{}", i);
    }
    tensors[i].datatype = output.tensors[i].dtype;
    tensors[i].shape = output.tensors[i].shape;
    tensors[i].numbers = output.tensors[i];
  }
  return tensors;
}

}  // namespace serve
