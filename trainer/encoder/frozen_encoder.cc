#include "trainer/encoder/frozen_encoder.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>
#include <thread>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/optim/lbfgs.h>

#include "handlers/text/sequences.h"
#include "handlers/text/subword_tokenizer.h"

namespace serve::trainer {
namespace {

constexpr std::size_t kTogether = 32;  // texts of one run

// Only torch.* operators resolve in a module that is made in C++.
constexpr const char* kForward = R"(
def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    x = self.encoder.forward({})
{}    x = torch.div(x, torch.clamp_min(torch.norm(x, 2, [1], True), 1e-12))
    return torch.addmm(self.head_bias, x, self.head_weight)
)";
constexpr const char* kMean = R"(    present = torch.to(torch.unsqueeze(attention_mask, -1), 6)
    x = torch.div(torch.sum(torch.mul(x, present), [1]), torch.clamp_min(torch.sum(present, [1]), 1e-9))
)";

at::Tensor View(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat);
}

Status Refused(std::string_view what, const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  return Internal(
      fmt::format("{}: {}", what, torch != nullptr ? torch->what_without_backtrace() : error.what()));
}

}  // namespace

struct FrozenEncoder::State {
  torch::jit::Module module;
  std::unique_ptr<SubwordTokenizer> tokenizer;
  std::int64_t max_length = 0;
  bool of_tokens = false;  // answers a vector for each token
  std::int64_t size = 0;

  /// Calls run(numbers of the texts, ids, mask) for texts that have the same bucket, as the server batches
  /// them.
  template <class Run>
  void ForEachBatch(const std::vector<LabelledText>& rows, Run run) const {
    std::map<std::int64_t, std::vector<std::size_t>> buckets;
    std::vector<std::vector<std::int64_t>> encoded;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      encoded.push_back(tokenizer->Encode(rows[i].text, static_cast<std::size_t>(max_length)));
      buckets[LengthBucket(static_cast<std::int64_t>(encoded.back().size()), max_length)].push_back(i);
    }
    for (const auto& [length, members] : buckets) {
      for (std::size_t first = 0; first < members.size(); first += kTogether) {
        const std::vector<std::size_t> texts(
            members.begin() + static_cast<std::ptrdiff_t>(first),
            members.begin() + static_cast<std::ptrdiff_t>(std::min(first + kTogether, members.size())));
        const auto count = static_cast<std::int64_t>(texts.size());
        const at::Tensor ids = at::full({count, length}, tokenizer->padding(), at::kLong);
        const at::Tensor mask = at::zeros({count, length}, at::kLong);
        for (std::int64_t i = 0; i < count; ++i) {
          const std::vector<std::int64_t>& text = encoded[texts[static_cast<std::size_t>(i)]];
          std::copy(text.begin(), text.end(), ids.mutable_data_ptr<std::int64_t>() + i * length);
          std::fill_n(mask.mutable_data_ptr<std::int64_t>() + i * length, text.size(), 1);
        }
        if (!run(texts, ids, mask)) return;
      }
    }
  }

  [[nodiscard]] at::Tensor Run(const at::Tensor& ids, const at::Tensor& mask) const {
    torch::jit::Module copy = module;  // shares everything; forward is not const
    at::Tensor x = copy.forward({ids, mask}).toTensor().to(at::kFloat);
    if (x.dim() == 3) {
      const at::Tensor present = mask.unsqueeze(-1).to(at::kFloat);
      x = (x * present).sum(1) / present.sum(1).clamp_min(1e-9);
    }
    return (x / x.norm(2, {1}, true).clamp_min(1e-12)).contiguous();
  }
};

FrozenEncoder::FrozenEncoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
FrozenEncoder::FrozenEncoder(FrozenEncoder&&) noexcept = default;
FrozenEncoder::~FrozenEncoder() = default;

Result<FrozenEncoder> FrozenEncoder::Load(const std::filesystem::path& file,
                                          const std::filesystem::path& vocabulary, std::int64_t max_length,
                                          int threads) try {
  at::set_num_threads(threads > 0 ? threads
                                  : static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)));
  auto state = std::make_unique<State>();
  Result<std::unique_ptr<SubwordTokenizer>> tokenizer = LoadSubwordTokenizer(vocabulary, true);
  if (!tokenizer) return tokenizer.error();
  if (*tokenizer == nullptr) {
    return InvalidArgument(fmt::format(
        "there is no vocabulary (vocab.txt, spiece.model, …) in {}; name its folder in --vocabulary",
        vocabulary.string()));
  }
  state->tokenizer = *std::move(tokenizer);
  state->max_length = max_length;
  state->module = torch::jit::load(file.string(), c10::kCPU);
  state->module.eval();
  const c10::InferenceMode guard;
  const at::Tensor ids = at::full({2, 8}, state->tokenizer->padding(), at::kLong);
  const c10::IValue answer = state->module.forward({ids, at::ones({2, 8}, at::kLong)});
  if (!answer.isTensor() || answer.toTensor().dim() < 2 || answer.toTensor().dim() > 3 ||
      answer.toTensor().size(0) != 2) {
    return InvalidArgument(fmt::format(
        "{} does not answer one tensor [n, size] or [n, tokens, size] to (input_ids, attention_mask)",
        file.string()));
  }
  state->of_tokens = answer.toTensor().dim() == 3;
  state->size = answer.toTensor().size(-1);
  return FrozenEncoder(std::move(state));
} catch (const std::exception& error) {
  Status status = Refused(fmt::format("{} cannot be used as an encoder", file.string()), error);
  status.code = Code::kInvalidArgument;
  return status;
}

Result<Vectors> FrozenEncoder::Encode(const std::vector<LabelledText>& rows,
                                      const std::function<bool(std::size_t)>& progress) const try {
  const c10::InferenceMode guard;
  const auto size = static_cast<std::size_t>(state_->size);
  Vectors vectors{size, std::vector<float>(rows.size() * size), {}};
  for (const LabelledText& row : rows) vectors.labels.push_back(row.label);
  std::size_t done = 0;
  bool ended = false;
  state_->ForEachBatch(rows, [&](const std::vector<std::size_t>& texts, const at::Tensor& ids,
                                 const at::Tensor& mask) {
    const at::Tensor answer = state_->Run(ids, mask);
    for (std::size_t i = 0; i < texts.size(); ++i)
      std::copy_n(answer.const_data_ptr<float>() + i * size, size, vectors.values.data() + texts[i] * size);
    done += texts.size();
    ended = !progress(done);
    return !ended;
  });
  if (ended) return Status{Code::kUnavailable, "interrupted while texts were encoded; nothing was packed"};
  return vectors;
} catch (const std::exception& error) {
  return Refused("the encoder does not run", error);
}

Status FrozenEncoder::Export(const Head& head, const std::filesystem::path& file) const try {
  torch::jit::Module module(c10::QualifiedName("EncoderWithHead"),
                            state_->module._ivalue()->compilation_unit(), /*shouldMangle=*/true);
  module.register_module("encoder", state_->module);
  const auto classes = static_cast<std::int64_t>(head.bias.size());
  module.register_parameter("head_weight", View(head.weight, {state_->size, classes}).clone(), false);
  module.register_parameter("head_bias", View(head.bias, {classes}).clone(), false);
  module.define(
      fmt::format(fmt::runtime(kForward), "input_ids, attention_mask", state_->of_tokens ? kMean : ""));
  module.eval();
  module.save(file.string());
  return {};
} catch (const std::exception& error) {
  return Refused(fmt::format("cannot export the model to {}", file.string()), error);
}

Result<double> FrozenEncoder::CompareExported(const std::filesystem::path& file,
                                              const std::vector<LabelledText>& rows, const Vectors& vectors,
                                              const Head& head) const try {
  const c10::InferenceMode guard;
  torch::jit::Module module = torch::jit::load(file.string(), c10::kCPU);
  module.eval();
  const std::vector<double> expected = HeadScores(head, vectors);
  const std::size_t classes = head.bias.size();
  double largest = 0;
  state_->ForEachBatch(
      rows, [&](const std::vector<std::size_t>& texts, const at::Tensor& ids, const at::Tensor& mask) {
        const at::Tensor answer = module.forward({ids, mask}).toTensor().contiguous();
        for (std::size_t i = 0; i < texts.size(); ++i) {
          for (std::size_t c = 0; c < classes; ++c) {
            const double difference =
                std::fabs(answer.const_data_ptr<float>()[i * classes + c] - expected[texts[i] * classes + c]);
            if (!(difference <= largest)) largest = difference;  // lets NaN through
          }
        }
        return true;
      });
  return largest;
} catch (const std::exception& error) {
  return Refused(fmt::format("the exported {} does not run", file.string()), error);
}

Result<Head> FitHead(const Vectors& vectors, std::size_t classes, double l2, int iterations,
                     const std::vector<double>& class_weights) try {
  const auto size = static_cast<std::int64_t>(vectors.size);
  const auto count = static_cast<std::int64_t>(classes);
  const at::Tensor data = View(vectors.values, {static_cast<std::int64_t>(vectors.labels.size()), size});
  const at::Tensor labels = at::from_blob(const_cast<std::int64_t*>(vectors.labels.data()),
                                          {static_cast<std::int64_t>(vectors.labels.size())}, at::kLong);
  at::Tensor class_weight;
  if (!class_weights.empty()) {
    class_weight = at::empty({count}, at::kFloat);
    for (std::size_t c = 0; c < classes; ++c)
      class_weight.mutable_data_ptr<float>()[c] = static_cast<float>(class_weights[c]);
  }
  at::Tensor weight = at::zeros({size, count}, at::kFloat).set_requires_grad(true);
  at::Tensor bias = at::zeros({count}, at::kFloat).set_requires_grad(true);
  torch::optim::LBFGS optimizer(
      std::vector<at::Tensor>{weight, bias},
      torch::optim::LBFGSOptions(1).max_iter(iterations).line_search_fn("strong_wolfe"));
  double last = 0;
  optimizer.step([&] {
    optimizer.zero_grad();
    const at::Tensor loss = at::cross_entropy_loss(at::addmm(bias, data, weight), labels, class_weight) +
                            weight.square().sum() * (l2 / 2);
    loss.backward();
    last = loss.item<double>();
    return loss;
  });
  if (!std::isfinite(last)) {
    return Status{
        Code::kPredictionFailed,
        fmt::format("the loss of the head is {}: nothing was packed; does the encoder answer finite "
                    "numbers? else try a larger --head-l2 (now {})",
                    last, l2)};
  }
  const auto values = [](const at::Tensor& tensor) {
    const auto* data = tensor.const_data_ptr<float>();
    return std::vector<float>(data, data + tensor.numel());
  };
  return Head{values(weight.detach()), values(bias.detach())};
} catch (const std::exception& error) {
  return Refused("libtorch refused to train the head", error);
}

std::vector<double> HeadScores(const Head& head, const Vectors& vectors) {
  const std::size_t classes = head.bias.size();
  std::vector<double> scores;
  for (std::size_t text = 0; text < vectors.labels.size(); ++text) {
    for (std::size_t c = 0; c < classes; ++c) {
      double score = head.bias[c];
      for (std::size_t i = 0; i < vectors.size; ++i)
        score += static_cast<double>(vectors.values[text * vectors.size + i]) * head.weight[i * classes + c];
      scores.push_back(score);
    }
  }
  return scores;
}

}  // namespace serve::trainer
