#include "handlers/text/text_generator.h"

#include <algorithm>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <simdjson.h>

#include "handlers/tensor/json_source.h"  // BadInput
#include "handlers/tensor/json_writer.h"
#include "handlers/tensor/tensor_handler.h"  // ShapeKey
#include "handlers/text/generate_request.h"
#include "handlers/text/sequences.h"
#include "handlers/text/subword_tokenizer.h"

namespace serve {
namespace {

constexpr std::int64_t kSyntheticTokens = 8;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

Status Unusable(std::string message) {
  return {Code::kPredictionFailed, "Prediction failed: " + std::move(message)};
}

/// What one request has so far.
struct Generation final : SampleState {
  GenerateOptions options;
  std::vector<std::int64_t> ids;  // the prompt's and the new ones
  std::size_t prompt = 0;         // of ids
  std::string bytes;              // the beginning of a character
  std::mt19937_64 random;
};

/// How many bytes of `text` are whole characters; what follows is the beginning of one.
std::size_t WholeCharacters(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0U) == 0x80U) continue;
    const std::size_t wanted = byte >= 0xf0U ? 4 : byte >= 0xe0U ? 3 : byte >= 0xc0U ? 2 : 1;
    return wanted > back ? text.size() - back : text.size();
  }
  return text.size();
}

/// Bytes that are no UTF-8 are replaced: pieces of single bytes can be put together anyhow.
std::string Clean(std::string text) {
  if (simdjson::validate_utf8(text)) return text;
  std::string clean;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t bytes = 1;
    while (bytes <= 4 && !simdjson::validate_utf8(std::string_view(text).substr(at, bytes))) ++bytes;
    if (bytes > 4) {
      clean += kReplacement;
      ++at;
    } else {
      clean += std::string_view(text).substr(at, bytes);
      at += bytes;
    }
  }
  return clean;
}

/// Fixed at load.
struct Settings {
  GenerateOptions defaults;
  std::int64_t most_new_tokens = 1024;
  std::int64_t max_length = 1024;
  std::int64_t bos_id = -1;
};

class TextGenerator final : public Handler {
 public:
  TextGenerator(std::unique_ptr<SubwordTokenizer> tokenizer, Settings settings)
      : tokenizer_(std::move(tokenizer)), settings_(settings) {}

  Result<Sample> Prepare(Request request) const override try {
    const auto asked = ReadGenerateRequest(request, settings_.defaults, settings_.most_new_tokens);
    if (!asked) return asked.error();
    Result<Sample> sample = Begin(*asked);
    if (!sample) return sample;
    sample->hint.instances = asked->instances;
    sample->hint.stream = asked->options.stream && !asked->instances;
    return sample;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the prompt"};
  }

  [[nodiscard]] bool Generates() const override { return true; }
  [[nodiscard]] std::string_view PartType(const RenderHint&) const override {
    return tokenizer_ ? "text/plain; charset=utf-8" : "application/x-ndjson";
  }

  Result<Step> Next(const Output& output, Sample sample) const override try {
    auto& state = static_cast<Generation&>(*sample.state);
    const Result<std::int64_t> token = Choose(output, state);
    if (!token) return token.error();
    const bool ended = *token == state.options.eos_id;
    Step step;
    if (!ended) {
      state.ids.push_back(*token);
      state.bytes += Text(*token);
      const std::size_t whole = WholeCharacters(state.bytes);
      step.part = Clean(state.bytes.substr(0, whole));
      state.bytes.erase(0, whole);
    }
    const auto made = static_cast<std::int64_t>(state.ids.size() - state.prompt);
    if (!ended && made < state.options.max_new_tokens &&
        static_cast<std::int64_t>(state.ids.size()) < settings_.max_length) {
      Pack(state.ids, sample);
      step.more = std::move(sample);
      return step;
    }
    if (!state.bytes.empty()) step.part += kReplacement;
    Tensor ids = Tensor::Empty(DType::kInt64, {1, made});
    std::copy(state.ids.begin() + static_cast<std::ptrdiff_t>(state.prompt), state.ids.end(),
              ids.as<std::int64_t>());
    step.answer.tensors.push_back(std::move(ids));
    return step;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override try {
    const Tensor& ids = output.tensors.at(0);
    const std::string text = TextOf(ids);
    if (hint.stream) return Response{text, PartType(hint)};
    std::string body = hint.instances ? "{\"predictions\": [" : "";
    if (tokenizer_) {
      body += "{\"text\": ";
      AppendQuoted(body, text);
      body += fmt::format(", \"tokens\": {}}}", ids.elements());
    } else {
      body += "{\"output_ids\": [";
      for (std::int64_t i = 0; i < ids.elements(); ++i) {
        body += fmt::format("{}{}", i == 0 ? "" : ", ", ids.as<std::int64_t>()[i]);
      }
      body += "]}";
    }
    if (hint.instances) body += "]}";
    return Response{std::move(body)};
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Sample> PrepareTensors(std::vector<InferTensor> inputs) const override {
    GenerateRequest asked;
    asked.options = settings_.defaults;
    const InferTensor& input = inputs.at(0);
    if (input.shape.at(0) != 1) {
      return BadInput(fmt::format("{}: expected one prompt, found {}", input.name, input.shape[0]));
    }
    if (tokenizer_) {
      asked.prompt = input.texts.at(0);
    } else {
      const auto* ids = input.numbers.as<std::int64_t>();
      asked.input_ids.assign(ids, ids + input.numbers.elements());
    }
    return Begin(asked);
  }
  Result<std::vector<InferTensor>> RenderTensors(const Output& output) const override {
    const Tensor& ids = output.tensors.at(0);
    std::vector<InferTensor> tensors;
    if (tokenizer_) tensors.push_back({"text", std::nullopt, {1}, {}, {TextOf(ids)}});
    tensors.push_back({"output_ids", DType::kInt64, ids.shape, ids, {}});
    return tensors;
  }
  [[nodiscard]] std::vector<InferSpec> InferInputs() const override {
    if (tokenizer_) return {{"prompt", std::nullopt, {1}}};
    return {{"input_ids", DType::kInt64, {1, -1}}};
  }
  [[nodiscard]] std::vector<InferSpec> InferOutputs() const override {
    std::vector<InferSpec> specs;
    if (tokenizer_) specs.push_back({"text", std::nullopt, {1}});
    specs.push_back({"output_ids", DType::kInt64, {1, -1}});
    return specs;
  }

  Result<Sample> SyntheticSample() const override {
    GenerateRequest asked;
    asked.options = settings_.defaults;
    asked.input_ids.resize(static_cast<std::size_t>(std::min(kSyntheticTokens, settings_.max_length - 1)));
    return Begin(asked);
  }

 private:
  Result<Sample> Begin(const GenerateRequest& asked) const {
    auto state = std::make_shared<Generation>();
    state->options = asked.options;
    if (asked.input_ids.empty()) {
      if (!tokenizer_) {
        return BadInput("the archive has no vocabulary: send token ids as {\"input_ids\": [...]}");
      }
      // One more than fits, so that a prompt that is too long is known.
      state->ids = tokenizer_->Encode(asked.prompt, static_cast<std::size_t>(settings_.max_length) + 2);
      if (!state->ids.empty() && state->ids.back() == tokenizer_->end()) state->ids.pop_back();
      if (settings_.bos_id >= 0) state->ids.insert(state->ids.begin(), settings_.bos_id);
    } else {
      state->ids = asked.input_ids;
      const auto unknown = [this](std::int64_t id) { return tokenizer_ && id >= tokenizer_->size(); };
      if (std::any_of(state->ids.begin(), state->ids.end(), unknown)) {
        return BadInput(fmt::format("input_ids: the vocabulary has the ids below {}", tokenizer_->size()));
      }
    }
    if (state->ids.empty()) return BadInput("the prompt has no token that the vocabulary knows");
    state->prompt = state->ids.size();
    if (static_cast<std::int64_t>(state->prompt) >= settings_.max_length) {
      return BadInput(
          fmt::format("the prompt has {} tokens or more; prompt and answer together may have {} "
                      "(handler option max_length)",
                      settings_.max_length, settings_.max_length));
    }
    if (asked.options.choice.temperature > 0) {
      state->random.seed(asked.options.seed ? *asked.options.seed : std::random_device()());
    }
    Sample sample;
    Pack(state->ids, sample);
    sample.state = std::move(state);
    return sample;
  }

  void Pack(const std::vector<std::int64_t>& ids, Sample& sample) const {
    const auto count = static_cast<std::int64_t>(ids.size());
    const std::int64_t length = LengthBucket(count, settings_.max_length);
    Tensor tokens = Tensor::Empty(DType::kInt64, {1, length});
    Tensor mask = Tensor::Empty(DType::kInt64, {1, length});
    std::fill_n(tokens.as<std::int64_t>(), length, tokenizer_ ? tokenizer_->padding() : 0);
    std::fill_n(mask.as<std::int64_t>(), length, 0);
    std::copy(ids.begin(), ids.end(), tokens.as<std::int64_t>());
    std::fill_n(mask.as<std::int64_t>(), count, 1);
    sample.inputs.clear();
    sample.inputs.push_back(std::move(tokens));
    sample.inputs.push_back(std::move(mask));
    sample.shape_key = ShapeKey(sample.inputs);
  }

  static Result<std::int64_t> Choose(const Output& output, Generation& state) {
    if (output.tensors.empty()) return Unusable("the model answered nothing");
    const Tensor& scores = output.tensors.front();
    const std::size_t rank = scores.shape.size();
    const auto last = static_cast<std::int64_t>(state.ids.size()) - 1;
    if (scores.dtype != DType::kFloat32 || (rank != 2 && rank != 3) || scores.shape[0] != 1 ||
        (rank == 3 && scores.shape[1] <= last)) {
      return Unusable(
          fmt::format("the model answered {} {}, expected scores as float32 [texts, tokens, "
                      "vocabulary] or [texts, vocabulary]",
                      DTypeName(scores.dtype), ShapeText(scores.shape)));
    }
    const std::int64_t size = scores.shape.back();
    const float* row = scores.as<float>() + (rank == 3 ? last * size : 0);
    const std::int64_t token =
        ChooseToken(row, static_cast<std::size_t>(size), state.options.choice, state.random);
    if (token < 0) return Unusable("the model answered a score that is no number");
    return token;
  }

  [[nodiscard]] std::string Text(std::int64_t id) const {
    return tokenizer_ ? tokenizer_->Text(id) : fmt::format("{}\n", id);
  }
  /// What the parts would be together.
  [[nodiscard]] std::string TextOf(const Tensor& ids) const {
    std::string text;
    for (std::int64_t i = 0; i < ids.elements(); ++i) text += Text(ids.as<std::int64_t>()[i]);
    if (const std::size_t whole = WholeCharacters(text); whole < text.size()) {
      text.resize(whole);
      text = Clean(std::move(text));
      text += kReplacement;
      return text;
    }
    return Clean(std::move(text));
  }

  const std::unique_ptr<SubwordTokenizer> tokenizer_;  // null: token ids only
  const Settings settings_;
};

}  // namespace

Result<std::unique_ptr<Handler>> MakeTextGenerator(const HandlerArtifacts& artifacts) try {
  Settings settings;
  GenerateOptions& defaults = settings.defaults;
  bool lower_case = true;
  std::int64_t eos_id = -2;  // not given
  OptionReader options(artifacts.options);
  options.Read("max_new_tokens_limit", 1, 1 << 20, settings.most_new_tokens);
  options.Read("max_new_tokens", 1, settings.most_new_tokens, defaults.max_new_tokens);
  options.Read("max_length", 2, 1 << 20, settings.max_length);
  options.Read("temperature", 0.0, 100.0, defaults.choice.temperature);
  options.Read("top_k", 0, std::int64_t{1} << 31, defaults.choice.top_k);
  options.Read("eos_id", -1, std::int64_t{1} << 31, eos_id);
  options.Read("bos_id", -1, std::int64_t{1} << 31, settings.bos_id);
  options.Read("stream", defaults.stream);
  options.Read("lower_case", lower_case);
  if (Status status = options.Finish("text_generator"); !status.ok()) return status;
  defaults.max_new_tokens = std::min(defaults.max_new_tokens, settings.most_new_tokens);
  auto tokenizer = LoadSubwordTokenizer(artifacts.folder, lower_case);
  if (!tokenizer) return tokenizer.error();
  if (eos_id == -2) eos_id = *tokenizer ? (*tokenizer)->end() : -1;
  defaults.eos_id = eos_id;
  return std::unique_ptr<Handler>(std::make_unique<TextGenerator>(std::move(*tokenizer), settings));
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory to load the vocabulary"};
}

}  // namespace serve
