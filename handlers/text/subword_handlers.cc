#include "handlers/text/subword_handlers.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "handlers/tensor/json_writer.h"
#include "handlers/text/labels.h"
#include "handlers/text/probabilities.h"
#include "handlers/text/sequences.h"
#include "handlers/text/text_input.h"

namespace serve {
namespace {

class SubwordHandler : public Handler {
 public:
  Result<Sample> Prepare(Request request) const override try {
    const Result<TextInput> input = ReadTexts(request, {});
    if (!input) return input.error();
    Sample sample = sequences_.ToSample(input->texts);
    sample.hint = input->hint;
    return sample;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the texts of this request"};
  }

  Result<Sample> SyntheticSample() const override try {
    return sequences_.SyntheticSample();
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for a text"};
  }

 protected:
  explicit SubwordHandler(Sequences sequences) : sequences_(std::move(sequences)) {}

  const Sequences sequences_;
};

class SubwordClassifier final : public SubwordHandler {
 public:
  SubwordClassifier(Sequences sequences, const std::vector<std::string>& labels, std::int64_t top_k,
                    bool softmax)
      : SubwordHandler(std::move(sequences)),
        labels_(labels.size()),
        writer_(labels, static_cast<std::size_t>(top_k)),
        softmax_(softmax) {}

  Result<Response> Render(const Output& output, const RenderHint& hint) const override {
    if (!output.tensors.empty() && output.tensors.front().shape.size() == 2) {
      const auto classes = static_cast<std::size_t>(output.tensors.front().shape[1]);
      if (labels_ > classes) {
        return UnusableOutput(fmt::format("the model answered {} classes, but {} names {} labels", classes,
                                          kLabelsFile, labels_));
      }
    }
    return RenderScores(output, "texts", softmax_, writer_, hint);
  }

 private:
  const std::size_t labels_;
  const ProbabilityWriter writer_;
  const bool softmax_;
};

/// [texts, tokens, size] → [texts, size], the mean of the tokens that `mask` keeps.
Tensor MeanOfTokens(const Tensor& states, const Tensor& mask) {
  const std::int64_t texts = states.shape[0];
  const std::int64_t tokens = states.shape[1];
  const std::int64_t size = states.shape[2];
  Tensor mean = Tensor::Empty(DType::kFloat32, {texts, size});
  std::fill_n(mean.as<float>(), mean.elements(), 0.0F);
  const float* state = states.as<float>();
  for (std::int64_t text = 0; text < texts; ++text) {
    float* sum = mean.as<float>() + text * size;
    float count = 0;
    for (std::int64_t token = 0; token < tokens; ++token, state += size) {
      const std::int64_t at = text * tokens + token;
      const bool present =
          mask.dtype == DType::kInt64 ? mask.as<std::int64_t>()[at] != 0 : mask.as<std::int32_t>()[at] != 0;
      if (!present) continue;
      ++count;
      for (std::int64_t i = 0; i < size; ++i) sum[i] += state[i];
    }
    for (std::int64_t i = 0; i < size; ++i) sum[i] /= std::max(count, 1.0F);
  }
  return mean;
}

void ToUnitLength(Tensor& vectors) {
  const std::int64_t size = vectors.shape[1];
  for (std::int64_t row = 0; row < vectors.shape[0]; ++row) {
    float* vector = vectors.as<float>() + row * size;
    double squares = 0;
    for (std::int64_t i = 0; i < size; ++i) squares += static_cast<double>(vector[i]) * vector[i];
    const auto length = static_cast<float>(std::max(std::sqrt(squares), 1e-12));
    for (std::int64_t i = 0; i < size; ++i) vector[i] /= length;
  }
}

class TextEmbedding final : public SubwordHandler {
 public:
  TextEmbedding(Sequences sequences, bool normalize)
      : SubwordHandler(std::move(sequences)), normalize_(normalize) {}

  /// On the worker: every token of every text is read.
  Result<std::vector<Output>> Split(const std::vector<Tensor>& outputs, const std::vector<std::string>&,
                                    const std::vector<const Sample*>& samples) const override try {
    const Tensor& states = outputs.at(0);
    const std::size_t rank = states.shape.size();
    if (states.dtype != DType::kFloat32 || (rank != 2 && rank != 3)) {
      return UnusableOutput(
          fmt::format("the model answered {} {}, expected float32 [texts, tokens, size] or "
                      "[texts, size]",
                      DTypeName(states.dtype), ShapeText(states.shape)));
    }
    Result<std::vector<Output>> parts = SubwordHandler::Split({states}, {}, samples);
    if (!parts) return parts;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      Tensor& part = (*parts)[i].tensors.front();
      const Tensor& mask = sequences_.Mask(*samples[i]);
      if (rank == 3 && part.shape[1] != mask.shape[1]) {
        return UnusableOutput(
            fmt::format("the model answered {} for inputs {}", ShapeText(part.shape), ShapeText(mask.shape)));
      }
      if (rank == 3) {
        part = MeanOfTokens(part, mask);
      } else {
        Tensor copy = Tensor::Empty(part.dtype, part.shape);  // it is a view of what the module gave
        std::copy_n(part.as<float>(), part.elements(), copy.as<float>());
        part = std::move(copy);
      }
      if (normalize_) ToUnitLength(part);
    }
    return parts;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override {
    return RenderJson(output, hint);
  }

 private:
  const bool normalize_;
};

/// The part that both handlers share. `options` has read nothing yet.
Result<Sequences> MakeSequences(const HandlerArtifacts& artifacts, OptionReader& options,
                                std::string_view handler) {
  std::int64_t max_length = 0;
  bool lower_case = true;
  options.Read("max_length", 2, 1 << 20, max_length);
  options.Read("lower_case", lower_case);
  if (Status status = options.Finish(handler); !status.ok()) return status;
  Result<std::unique_ptr<SubwordTokenizer>> tokenizer = LoadSubwordTokenizer(artifacts.folder, lower_case);
  if (!tokenizer) return tokenizer.error();
  if (*tokenizer == nullptr) {
    return InvalidArgument(
        fmt::format("{} needs a vocabulary in the archive: vocab.txt (WordPiece), or spiece.model, "
                    "tokenizer.model or sentencepiece.bpe.model (SentencePiece)",
                    handler));
  }
  return Sequences::Make(std::move(*tokenizer), artifacts.inputs, max_length);
}

}  // namespace

Result<std::unique_ptr<Handler>> MakeSubwordClassifier(const HandlerArtifacts& artifacts) try {
  bool softmax = true;
  std::int64_t top_k = kMaxLabels;
  OptionReader options(artifacts.options);
  options.Read("softmax", softmax);
  options.Read("top_k", 1, kMaxLabels, top_k);
  Result<Sequences> sequences = MakeSequences(artifacts, options, "text_classifier");
  if (!sequences) return sequences.error();
  const Result<std::vector<std::string>> labels = ReadClassNames(artifacts.folder / kLabelsFile);
  if (!labels) return labels.error();
  return std::unique_ptr<Handler>(
      std::make_unique<SubwordClassifier>(std::move(*sequences), *labels, top_k, softmax));
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory to load the vocabulary"};
}

Result<std::unique_ptr<Handler>> MakeTextEmbedding(const HandlerArtifacts& artifacts) try {
  bool normalize = true;
  OptionReader options(artifacts.options);
  options.Read("normalize", normalize);
  Result<Sequences> sequences = MakeSequences(artifacts, options, "text_embedding");
  if (!sequences) return sequences.error();
  return std::unique_ptr<Handler>(std::make_unique<TextEmbedding>(std::move(*sequences), normalize));
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory to load the vocabulary"};
}

}  // namespace serve
