#include "handlers/tensor/tensor_handler.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>

#include <fmt/format.h>

#include "handlers/tensor/binary_reader.h"
#include "handlers/tensor/half.h"
#include "handlers/tensor/json_reader.h"
#include "handlers/tensor/json_source.h"
#include "handlers/tensor/json_writer.h"

namespace serve {
namespace {

constexpr std::string_view kOctetStream = "application/octet-stream";
/// How long warm-up makes a dimension of any size: long enough for a sequence or a small picture.
constexpr std::size_t kSyntheticSize = 8;

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// The first media type of a header, without parameters, in lower case.
std::string MediaType(std::string_view header) {
  std::string type(header.substr(0, header.find_first_of(",; \t")));
  std::transform(type.begin(), type.end(), type.begin(), Lower);
  return type;
}

bool IsJson(const RequestPart& part) {
  if (part.content_type == "application/json") return true;  // nearly always
  const std::string type = MediaType(part.content_type);
  if (type.empty() || type == "application/x-www-form-urlencoded") return LooksLikeText(part.value);
  return type == "application/json" || type.ends_with("+json") || type.starts_with("text/");
}

Status CheckSpecs(const std::vector<TensorSpec>& specs) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const TensorSpec& spec = specs[i];
    if (spec.name.empty()) return BadInput(fmt::format("the declared input {} has no name", i));
    if (spec.shape.size() >= kMaxNesting) {
      return BadInput(fmt::format("input \"{}\" declares {} dimensions, at most {} can be served",
                                  Excerpt(spec.name), spec.shape.size(), kMaxNesting - 1));
    }
    for (const std::int64_t dim : spec.shape) {
      if (dim < -1) {
        return BadInput(fmt::format("input \"{}\" declares a dimension of {}; use -1 for any size",
                                    Excerpt(spec.name), dim));
      }
    }
    for (std::size_t other = 0; other < i; ++other) {
      if (specs[other].name == spec.name) {
        return BadInput(fmt::format("input \"{}\" is declared twice", Excerpt(spec.name)));
      }
    }
  }
  return {};
}

/// Numbers in (0, 1], so that differences between two ways to run a model show; whole numbers are 1, for a
/// mask of zeros would hide everything.
void FillForCheck(Tensor& tensor) {
  constexpr float kPattern[] = {1, 0.5F, 0.75F, 0.25F, 0.375F};
  const auto count = static_cast<std::size_t>(tensor.elements());
  const auto fill = [&](auto* to, auto convert) {
    for (std::size_t i = 0; i < count; ++i) to[i] = convert(kPattern[i % std::size(kPattern)]);
  };
  switch (tensor.dtype) {
    case DType::kFloat32:
      return fill(tensor.as<float>(), [](float value) { return value; });
    case DType::kFloat64:
      return fill(tensor.as<double>(), [](float value) { return double{value}; });
    case DType::kFloat16:
      return fill(tensor.as<std::uint16_t>(), HalfFromFloat);
    case DType::kBFloat16:
      return fill(tensor.as<std::uint16_t>(), BFloat16FromFloat);
    default:
      std::memset(tensor.data.get(), 0, tensor.bytes());
      for (std::size_t i = 0; i < count; ++i) tensor.data.get()[i * DTypeSize(tensor.dtype)] = std::byte{1};
  }
}

/// What the model hands itself from one request of a sequence to the next; empty: nothing yet.
struct CarriedTensors final : SampleState {
  std::vector<Tensor> tensors;
};

class TensorHandler final : public Handler {
 public:
  TensorHandler(const HandlerArtifacts& artifacts, std::vector<TensorSpec> inputs,
                std::vector<TensorSpec> state)
      : inputs_(std::move(inputs)), state_(std::move(state)), outputs_(artifacts.outputs) {
    for (const TensorSpec& spec : artifacts.outputs) output_names_.push_back(spec.name);
  }

  Result<Sample> Prepare(Request request) const override try {
    const RequestPart* part = request.Input();
    if (part == nullptr) {
      return BadInput(
          "the request brings no input: send the tensor as the body with Content-Type: application/json "
          "(curl -d alone sends a form), or as a form field named data");
    }
    const RequestPart input = *part;
    if (input.value.empty()) {
      return BadInput("the body is empty; send a nested array of numbers or {\"instances\": [...]}");
    }
    const bool binary_answer = MediaType(request.accept) == kOctetStream;
    Result<Sample> sample = Read(std::move(request), input);
    if (!sample) return sample;
    if (Status status = CheckRows(*sample); !status.ok()) return status;
    sample->shape_key = ShapeKey(sample->inputs);
    sample->hint.binary = binary_answer;
    return sample;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the tensors of this request"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override try {
    if (hint.binary) return RenderBinary(output);
    const bool rename =
        output.names.empty() && output.tensors.size() > 1 && output.tensors.size() == output_names_.size();
    return rename ? RenderJson(Output{output.tensors, output_names_}, hint) : RenderJson(output, hint);
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Sample> SyntheticSample() const override try {
    if (inputs_.empty()) {
      return InvalidArgument(
          "the archive declares no inputs, so there is no request to warm up with; declare them "
          "with --input name:dtype:[shape] or bring an example");
    }
    Sample sample;
    for (const TensorSpec& spec : inputs_) {
      std::size_t bytes = 0;
      if (!RowBytes(spec, kSyntheticSize, bytes)) {
        return InvalidArgument(
            fmt::format("input {} is too large to make one", Excerpt(SpecText(spec), 100)));
      }
      std::vector<std::int64_t> shape = {1};
      for (const std::int64_t dim : spec.shape) {
        shape.push_back(dim < 0 ? static_cast<std::int64_t>(kSyntheticSize) : dim);
      }
      Tensor tensor = Tensor::Empty(spec.dtype, std::move(shape));
      FillForCheck(tensor);
      sample.inputs.push_back(std::move(tensor));
    }
    sample.shape_key = ShapeKey(sample.inputs);
    return sample;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for a row of the declared inputs"};
  }

  Result<Sample> PrepareTensors(std::vector<InferTensor> inputs) const override {
    Sample sample;
    sample.rows = inputs.front().shape.front();
    sample.hint.single_row = false;
    for (InferTensor& input : inputs) {
      if (!input.datatype) {
        return BadInput(fmt::format("input \"{}\": the model takes numbers, not BYTES", Excerpt(input.name)));
      }
      sample.inputs.push_back(std::move(input.numbers));
    }
    if (Status status = CheckRows(sample); !status.ok()) return status;
    sample.shape_key = ShapeKey(sample.inputs);
    return sample;
  }

  Result<std::vector<Tensor>> Collate(const std::vector<const Sample*>& samples) const override {
    Result<std::vector<Tensor>> inputs = Handler::Collate(samples);
    if (!inputs || state_.empty()) return inputs;
    for (std::size_t i = 0; i < state_.size(); ++i) {
      std::vector<std::int64_t> shape = {static_cast<std::int64_t>(samples.size())};
      shape.insert(shape.end(), state_[i].shape.begin(), state_[i].shape.end());
      Tensor tensor = Tensor::Empty(state_[i].dtype, std::move(shape));
      const std::size_t row = tensor.bytes() / samples.size();
      for (std::size_t at = 0; at < samples.size(); ++at) {
        const auto* carried = static_cast<const CarriedTensors*>(samples[at]->state.get());
        std::byte* to = tensor.data.get() + at * row;
        if (carried == nullptr || carried->tensors.empty()) {
          std::memset(to, 0, row);
        } else {
          std::memcpy(to, carried->tensors[i].data.get(), row);
        }
      }
      inputs->push_back(std::move(tensor));
    }
    return inputs;
  }

  Result<std::vector<Output>> Split(const std::vector<Tensor>& outputs, const std::vector<std::string>& names,
                                    const std::vector<const Sample*>& samples) const override {
    Result<std::vector<Output>> split = Handler::Split(outputs, names, samples);
    if (!split || state_.empty()) return split;
    for (std::size_t at = 0; at < samples.size(); ++at) {
      Output& output = (*split)[at];
      if (output.tensors.size() <= state_.size()) {
        return UnusableOutput(
            fmt::format("the model answers {} tensors, the last {} of which are its state; "
                        "none is left for the client",
                        output.tensors.size(), state_.size()));
      }
      std::vector<Tensor> next;
      const std::size_t first = output.tensors.size() - state_.size();
      for (std::size_t i = 0; i < state_.size(); ++i) {
        const Tensor& tensor = output.tensors[first + i];
        std::vector<std::int64_t> shape = {1};
        shape.insert(shape.end(), state_[i].shape.begin(), state_[i].shape.end());
        if (tensor.dtype != state_[i].dtype || tensor.shape != shape) {
          return UnusableOutput(fmt::format("output {} is {} {} and shall be the next {}", first + i,
                                            DTypeName(tensor.dtype), ShapeText(tensor.shape),
                                            SpecText(state_[i])));
        }
        // Memory of its own: the sequence may outlive its batch by minutes.
        Tensor own = Tensor::Empty(tensor.dtype, std::move(shape));
        std::memcpy(own.data.get(), tensor.data.get(), tensor.bytes());
        next.push_back(std::move(own));
      }
      output.tensors.resize(first);
      if (!output.names.empty()) output.names.resize(first);
      if (SampleState* state = samples[at]->state.get(); state != nullptr) {
        static_cast<CarriedTensors*>(state)->tensors = std::move(next);
      }
    }
    return split;
  }

  [[nodiscard]] std::shared_ptr<SampleState> BeginSequence() const override {
    return state_.empty() ? nullptr : std::make_shared<CarriedTensors>();
  }

  [[nodiscard]] std::vector<InferSpec> InferInputs() const override { return WithBatch(inputs_); }
  [[nodiscard]] std::vector<InferSpec> InferOutputs() const override { return WithBatch(outputs_); }

 private:
  [[nodiscard]] Status CheckRows(const Sample& sample) const {
    if (state_.empty() || sample.rows == 1) return {};
    return BadInput(fmt::format(
        "the request brings {} rows; the model keeps a state between requests, so each is one row",
        sample.rows));
  }

  static std::vector<InferSpec> WithBatch(const std::vector<TensorSpec>& specs) {
    std::vector<InferSpec> result;
    for (const TensorSpec& spec : specs) {
      result.push_back({spec.name, spec.dtype, {-1}});
      result.back().shape.insert(result.back().shape.end(), spec.shape.begin(), spec.shape.end());
    }
    return result;
  }

  Result<Sample> Read(Request request, const RequestPart& part) const {
    if (!IsJson(part)) return ReadBinarySample(std::move(request), part, inputs_);
    if (request.body_is_part) return ReadJsonSample(part.value, inputs_);
    const Buffer padded(part.value);  // what follows a part of a form is not the parser's padding
    return ReadJsonSample(padded.view(), inputs_);
  }

  static Result<Response> RenderBinary(const Output& output) {
    if (output.tensors.size() != 1) {
      return BadInput(
          fmt::format("the model answers {} tensors, {} carries one; ask with Accept: application/json",
                      output.tensors.size(), kOctetStream));
    }
    const Tensor& tensor = output.tensors.front();
    const std::size_t size = tensor.bytes();
    Response response;
    if (size > 0) response.body.assign(reinterpret_cast<const char*>(tensor.data.get()), size);
    response.content_type = kOctetStream;
    return response;
  }

  const std::vector<TensorSpec> inputs_;  // that clients send
  const std::vector<TensorSpec> state_;   // the module's last inputs, and its last outputs
  const std::vector<TensorSpec> outputs_;
  std::vector<std::string> output_names_;
};

}  // namespace

Result<std::unique_ptr<Handler>> MakeTensorHandler(const HandlerArtifacts& artifacts) {
  if (Status status = CheckSpecs(artifacts.inputs); !status.ok()) return status;
  OptionReader options(artifacts.options);
  std::vector<std::string> names;
  options.Read("state", names);
  if (Status status = options.Finish("tensor"); !status.ok()) return status;
  std::vector<TensorSpec> inputs = artifacts.inputs;
  const auto first = inputs.end() - static_cast<std::ptrdiff_t>(std::min(names.size(), inputs.size()));
  std::vector<TensorSpec> state(first, inputs.end());
  inputs.erase(first, inputs.end());
  const bool declared =
      std::equal(state.begin(), state.end(), names.begin(), names.end(),
                 [](const TensorSpec& spec, const std::string& name) { return spec.name == name; });
  if (!declared || (inputs.empty() && !state.empty())) {
    return BadInput(
        "the handler option state must name the last declared inputs, in their order, and leave one for the "
        "client");
  }
  for (const TensorSpec& spec : state) {
    if (std::any_of(spec.shape.begin(), spec.shape.end(), [](std::int64_t dim) { return dim < 0; })) {
      return BadInput(fmt::format("the state {} needs a size for each dimension", SpecText(spec)));
    }
  }
  return std::unique_ptr<Handler>(
      std::make_unique<TensorHandler>(artifacts, std::move(inputs), std::move(state)));
}

std::uint64_t ShapeKey(const std::vector<Tensor>& inputs) {
  std::uint64_t key = 0x9e3779b97f4a7c15U;
  const auto mix = [&key](std::uint64_t value) {
    key = (key ^ value) * 0xff51afd7ed558ccdU;
    key ^= key >> 32;
  };
  for (const Tensor& tensor : inputs) {
    mix(static_cast<std::uint64_t>(tensor.dtype) << 32 | tensor.shape.size());
    for (std::size_t i = 1; i < tensor.shape.size(); ++i) mix(static_cast<std::uint64_t>(tensor.shape[i]));
  }
  return key;
}

}  // namespace serve
