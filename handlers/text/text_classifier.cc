#include "handlers/text/text_classifier.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include <fmt/format.h>

#include "handlers/text/labels.h"
#include "handlers/text/probabilities.h"
#include "handlers/text/text_features.h"
#include "handlers/text/vocabulary.h"

namespace serve {
namespace {

/// Terms of the text that warm-up sends: about as many as a news item has.
constexpr std::size_t kSyntheticTerms = 32;

enum Input : std::size_t { kIds, kOffsets, kWeights, kInputs };

template <class T>
Tensor ToTensor(DType dtype, const std::vector<T>& values) {
  Tensor tensor = Tensor::Empty(dtype, {static_cast<std::int64_t>(values.size())});
  if (!values.empty()) std::memcpy(tensor.data.get(), values.data(), values.size() * sizeof(T));
  return tensor;
}

Sample ToSample(const TextBags& bags) {
  Sample sample;
  sample.inputs = {ToTensor(DType::kInt64, bags.ids), ToTensor(DType::kInt64, bags.offsets),
                   ToTensor(DType::kFloat32, bags.weights)};
  sample.rows = static_cast<std::int64_t>(bags.texts());
  return sample;  // shape_key stays 0: bags of any length lie one behind the other
}

class TextClassifier final : public Handler {
 public:
  TextClassifier(Vocabulary vocabulary, const std::vector<std::string>& labels, const TextLimits& limits)
      : vocabulary_(std::move(vocabulary)), limits_(limits), labels_(labels), writer_(labels) {}

  Result<Sample> Prepare(Request request) const override try {
    const Result<TextInput> input = ReadTexts(request, limits_);
    if (!input) return input.error();
    return ToSample(*input);
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the texts of this request"};
  }

  Result<Sample> PrepareTensors(std::vector<InferTensor> inputs) const override try {
    const Result<TextInput> input = CheckTexts(inputs.front().texts, "inputs[0].data", limits_);
    if (!input) return input.error();
    return ToSample(*input);
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the texts of this request"};
  }

  Result<std::vector<InferTensor>> RenderTensors(const Output& output) const override {
    if (Status status = CheckOutput(output); !status.ok()) return status;
    const Tensor& probabilities = output.tensors.front();
    const std::int64_t texts = probabilities.shape[0];
    const auto classes = static_cast<std::ptrdiff_t>(labels_.size());
    std::vector<InferTensor> tensors(3);
    const std::vector<InferSpec> specs = InferOutputs();
    for (std::size_t i = 0; i < specs.size(); ++i) {
      tensors[i].name = specs[i].name;
      tensors[i].datatype = specs[i].datatype;
      tensors[i].shape = {texts};
    }
    Tensor best = Tensor::Empty(DType::kInt64, {texts});
    const auto* row = probabilities.as<float>();
    for (std::int64_t i = 0; i < texts; ++i, row += classes) {
      const auto winner = std::max_element(row, row + classes) - row;
      best.as<std::int64_t>()[i] = winner;
      tensors[0].texts.push_back(labels_[static_cast<std::size_t>(winner)]);
    }
    tensors[1].numbers = std::move(best);
    tensors[2].shape = probabilities.shape;
    tensors[2].numbers = probabilities;
    return tensors;
  }
  [[nodiscard]] std::vector<InferSpec> InferInputs() const override { return {{"text", std::nullopt, {-1}}}; }
  [[nodiscard]] std::vector<InferSpec> InferOutputs() const override {
    return {{"label", std::nullopt, {-1}},
            {"class_id", DType::kInt64, {-1}},
            {"probabilities", DType::kFloat32, {-1, static_cast<std::int64_t>(labels_.size())}}};
  }

  Result<std::vector<Tensor>> Collate(const std::vector<const Sample*>& samples) const override try {
    if (samples.empty()) return Internal("an empty batch has nothing to run");
    if (samples.size() == 1) return samples.front()->inputs;
    std::int64_t terms = 0;
    std::int64_t texts = 0;
    for (const Sample* sample : samples) {
      terms += sample->inputs[kIds].elements();
      texts += sample->inputs[kOffsets].elements();
    }
    std::vector<Tensor> joined = {Tensor::Empty(DType::kInt64, {terms}),
                                  Tensor::Empty(DType::kInt64, {texts}),
                                  Tensor::Empty(DType::kFloat32, {terms})};
    auto* ids = joined[kIds].as<std::int64_t>();
    auto* offsets = joined[kOffsets].as<std::int64_t>();
    auto* weights = joined[kWeights].as<float>();
    std::int64_t first = 0;
    for (const Sample* sample : samples) {
      const std::vector<Tensor>& inputs = sample->inputs;
      const std::int64_t count = inputs[kIds].elements();
      ids = std::copy_n(inputs[kIds].as<std::int64_t>(), count, ids);
      weights = std::copy_n(inputs[kWeights].as<float>(), count, weights);
      offsets = std::transform(inputs[kOffsets].as<std::int64_t>(),
                               inputs[kOffsets].as<std::int64_t>() + inputs[kOffsets].elements(), offsets,
                               [first](std::int64_t offset) { return offset + first; });
      first += count;
    }
    return joined;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory to join the batch"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override try {
    if (Status status = CheckOutput(output); !status.ok()) return status;
    const Tensor& probabilities = output.tensors.front();
    return Response{writer_.Write(probabilities.as<float>(), static_cast<std::size_t>(probabilities.shape[0]),
                                  labels_.size(), hint)};
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Sample> SyntheticSample() const override try {
    const std::vector<Term>& terms = vocabulary_.terms();
    const std::size_t step = std::max<std::size_t>(terms.size() / kSyntheticTerms, 1);
    std::string text;
    for (std::size_t i = 0; i < terms.size() && i / step < kSyntheticTerms; i += step)
      text += terms[i].text + ' ';
    TextBags bags;
    AppendText(text, vocabulary_, bags);
    return serve::ToSample(bags);
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for a text"};
  }

 private:
  Sample ToSample(const TextInput& input) const {
    TextBags bags;
    for (const std::string_view text : input.texts) AppendText(text, vocabulary_, bags);
    Sample sample = serve::ToSample(bags);
    sample.hint = input.hint;
    return sample;
  }

  Status CheckOutput(const Output& output) const {
    if (output.tensors.empty()) return UnusableOutput("the model answered nothing");
    const Tensor& probabilities = output.tensors.front();
    if (probabilities.dtype != DType::kFloat32 || probabilities.shape.size() != 2) {
      return UnusableOutput(
          fmt::format("the model answered {} {}, expected probabilities as float32 [texts, {}]",
                      DTypeName(probabilities.dtype), ShapeText(probabilities.shape), labels_.size()));
    }
    if (probabilities.shape[1] != static_cast<std::int64_t>(labels_.size())) {
      return UnusableOutput(
          fmt::format("the model answered {} classes, but {} names {} labels; they must be from the same "
                      "training",
                      probabilities.shape[1], kLabelsFile, labels_.size()));
    }
    const auto* values = probabilities.as<float>();
    if (!std::all_of(values, values + probabilities.elements(),
                     [](float value) { return std::isfinite(value); })) {
      return UnusableOutput("the model answered a probability that is no finite number");
    }
    return {};
  }

  const Vocabulary vocabulary_;
  const TextLimits limits_;
  const std::vector<std::string> labels_;  // by class
  const ProbabilityWriter writer_;
};

Status CheckDeclaredOutputs(const std::vector<TensorSpec>& outputs, std::size_t labels) {
  if (outputs.empty() || outputs[0].shape.size() != 1 || outputs[0].shape[0] < 0 ||
      outputs[0].shape[0] == static_cast<std::int64_t>(labels)) {
    return {};
  }
  return InvalidArgument(fmt::format("{} names {} labels, but the archive declares the output {}",
                                     kLabelsFile, labels, SpecText(outputs[0])));
}

}  // namespace

Result<std::unique_ptr<Handler>> MakeTextClassifier(const HandlerArtifacts& artifacts,
                                                    const TextLimits& limits) try {
  for (const std::string_view name : {kVocabularyFile, kLabelsFile}) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(artifacts.folder / name, error)) {
      return InvalidArgument(
          fmt::format("text_classifier needs the file {} in the archive; flambeau-train packs it", name));
    }
  }
  Result<Vocabulary> vocabulary = Vocabulary::Load(artifacts.folder / kVocabularyFile);
  if (!vocabulary) return vocabulary.error();
  const Result<std::vector<std::string>> labels = ReadLabels(artifacts.folder / kLabelsFile);
  if (!labels) return labels.error();
  if (Status status = CheckDeclaredOutputs(artifacts.outputs, labels->size()); !status.ok()) return status;
  return std::unique_ptr<Handler>(std::make_unique<TextClassifier>(*std::move(vocabulary), *labels, limits));
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory to load the vocabulary"};
}

}  // namespace serve
