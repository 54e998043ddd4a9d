#include "trainer/images/network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <numbers>
#include <random>
#include <thread>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/optim/adam.h>

#include "model_store/archive/sha256.h"

namespace serve::trainer {
namespace {

constexpr std::int64_t kFirst = 32;  // channels
constexpr std::int64_t kSecond = 64;
constexpr std::int64_t kHidden = 128;
constexpr double kDropped = 0.25;
constexpr std::size_t kEvaluated = 500;  // pictures at once
constexpr double kWarmUp = 0.3;          // share of the steps in which the learning rate rises

constexpr const char* kNames[] = {"first_weight",  "first_bias",  "second_weight", "second_bias",
                                  "hidden_weight", "hidden_bias", "out_weight",    "out_bias"};
enum Parameter : std::size_t {
  kFirstWeight,
  kFirstBias,
  kSecondWeight,
  kSecondBias,
  kHiddenWeight,
  kHiddenBias,
  kOutWeight,
  kOutBias
};

// Only torch.* operators resolve in a module that is made in C++.
constexpr const char* kForward = R"(
def forward(self, pictures: Tensor) -> Tensor:
    x = torch.mean(pictures, [1], True)
    x = torch.conv2d(x, self.first_weight, self.first_bias, [1, 1], [1, 1])
    x = torch.relu(torch.max_pool2d(x, [2, 2]))
    x = torch.conv2d(x, self.second_weight, self.second_bias, [1, 1], [1, 1])
    x = torch.flatten(torch.relu(torch.max_pool2d(x, [2, 2])), 1)
    x = torch.relu(torch.addmm(self.hidden_bias, x, torch.t(self.hidden_weight)))
    return torch.addmm(self.out_bias, x, torch.t(self.out_weight))
)";

/// Uniform numbers from [-limit, limit): the same on every machine.
at::Tensor Draw(std::mt19937_64& random, std::vector<std::int64_t> shape, double limit) {
  const at::Tensor values = at::empty(shape, at::kFloat);
  auto* at = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    at[i] = static_cast<float>((2 * unit - 1) * limit);
  }
  return values;
}

/// Rises to `highest`, then falls to 0 along a cosine.
double LearningRate(double highest, std::int64_t step, std::int64_t steps) {
  const double done = static_cast<double>(step + 1) / static_cast<double>(steps);
  if (done < kWarmUp) return highest * done / kWarmUp;
  return highest / 2 * (1 + std::cos(std::numbers::pi * (done - kWarmUp) / (1 - kWarmUp)));
}

}  // namespace

Normalization Measure(const LabelledPictures& pictures) {
  double sum = 0;
  double squares = 0;
  for (const std::uint8_t pixel : pictures.pixels) {
    const double value = pixel / 255.0;
    sum += value;
    squares += value * value;
  }
  const auto count = static_cast<double>(pictures.pixels.size());
  const double mean = sum / count;
  const double variance = squares / count - mean * mean;
  return {mean, variance > 1e-12 ? std::sqrt(variance) : 1};
}

struct Network::State {
  std::int64_t height;
  std::int64_t width;
  std::int64_t classes;
  Normalization normalization;
  std::vector<at::Tensor> parameters;

  /// `pictures` [n, 1, height, width]; `mask`: what dropout leaves, undefined: everything.
  [[nodiscard]] at::Tensor Scores(const at::Tensor& pictures, const at::Tensor& mask = {}) const {
    const std::vector<at::Tensor>& p = parameters;
    // Pooled before ReLU: the same numbers for a quarter of the work.
    at::Tensor x = at::conv2d(pictures, p[kFirstWeight], p[kFirstBias], {1, 1}, at::IntArrayRef({1, 1}));
    x = at::relu(at::max_pool2d(x, {2, 2}));
    x = at::conv2d(x, p[kSecondWeight], p[kSecondBias], {1, 1}, at::IntArrayRef({1, 1}));
    x = at::flatten(at::relu(at::max_pool2d(x, {2, 2})), 1);
    x = at::relu(at::addmm(p[kHiddenBias], x, p[kHiddenWeight].t()));
    if (mask.defined()) x = x * mask;
    return at::addmm(p[kOutBias], x, p[kOutWeight].t());
  }

  /// The pictures of these numbers, normalized; `mirrored` as many flags, empty: none is.
  [[nodiscard]] at::Tensor Batch(const LabelledPictures& pictures, const std::size_t* numbers,
                                 std::size_t count, const std::vector<bool>& mirrored = {}) const {
    const at::Tensor batch = at::empty({static_cast<std::int64_t>(count), 1, height, width}, at::kFloat);
    auto* out = batch.mutable_data_ptr<float>();
    const auto scale = static_cast<float>(1 / (255 * normalization.std));
    const auto shift = static_cast<float>(normalization.mean / normalization.std);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* row = pictures.pixels.data() + numbers[i] * pictures.picture_size();
      for (std::size_t y = 0; y < pictures.height; ++y, row += pictures.width, out += pictures.width) {
        std::transform(row, row + pictures.width, out, [scale, shift](std::uint8_t pixel) {
          return static_cast<float>(pixel) * scale - shift;
        });
        if (!mirrored.empty() && mirrored[i]) std::reverse(out, out + pictures.width);
      }
    }
    return batch;
  }

  /// Shows all pictures in order, some at once.
  template <class Visit>
  void ForEachBatch(const LabelledPictures& pictures, Visit visit) const {
    std::vector<std::size_t> numbers;
    for (std::size_t first = 0; first < pictures.count(); first += kEvaluated) {
      numbers.clear();
      for (std::size_t i = first; i < std::min(first + kEvaluated, pictures.count()); ++i)
        numbers.push_back(i);
      visit(first, Batch(pictures, numbers.data(), numbers.size()));
    }
  }
};

Network::Network(std::size_t height, std::size_t width, std::size_t classes,
                 const Normalization& normalization, std::uint64_t seed)
    : state_(std::make_unique<State>()) {
  const auto h = static_cast<std::int64_t>(height);
  const auto w = static_cast<std::int64_t>(width);
  const auto c = static_cast<std::int64_t>(classes);
  const std::int64_t flat = kSecond * (h / 4) * (w / 4);
  std::mt19937_64 random(seed);
  const auto layer = [&](std::vector<std::int64_t> shape, std::int64_t inputs) {
    const std::int64_t outputs = shape[0];
    // He and others, 2015: what keeps the size of values behind a ReLU.
    state_->parameters.push_back(
        Draw(random, std::move(shape), std::sqrt(6.0 / static_cast<double>(inputs))));
    state_->parameters.push_back(at::zeros({outputs}, at::kFloat));
  };
  state_->height = h;
  state_->width = w;
  state_->classes = c;
  state_->normalization = normalization;
  layer({kFirst, 1, 3, 3}, 9);
  layer({kSecond, kFirst, 3, 3}, 9 * kFirst);
  layer({kHidden, flat}, flat);
  layer({c, kHidden}, 6 * kHidden);  // small: the first guesses should be even
}

Network::~Network() = default;

Result<bool> Network::Train(const LabelledPictures& pictures, const NetworkOptions& options,
                            const std::function<bool()>& stop,
                            const std::function<void(const Epoch&)>& progress) try {
  at::set_num_threads(options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)));
  std::vector<at::Tensor>& parameters = state_->parameters;
  for (at::Tensor& parameter : parameters) {
    // The order of values that convolution and pooling are quickest in.
    if (parameter.dim() == 4) parameter = parameter.contiguous(at::MemoryFormat::ChannelsLast);
    parameter.set_requires_grad(true);
  }
  torch::optim::Adam optimizer(parameters, torch::optim::AdamOptions(options.learning_rate));
  std::mt19937_64 random(options.seed + 1);
  std::vector<std::size_t> order(pictures.count());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto size = static_cast<std::size_t>(options.batch_size);
  const std::size_t batches = (order.size() + size - 1) / size;
  const auto steps = static_cast<std::int64_t>(batches) * options.epochs;
  bool stopped = false;
  for (int epoch = 1; epoch <= options.epochs && !stopped; ++epoch) {
    const auto begin = std::chrono::steady_clock::now();
    // Not std::shuffle, whose order is the library's choice.
    for (std::size_t i = 0; i + 1 < order.size(); ++i)
      std::swap(order[i], order[i + random() % (order.size() - i)]);
    double losses = 0;
    for (std::size_t b = 0; b < batches; ++b) {
      stopped = stop();
      if (stopped) break;
      const std::size_t count = std::min(size, order.size() - b * size);
      const std::size_t* const numbers = order.data() + b * size;
      std::vector<bool> mirrored(options.mirror ? count : 0);
      for (std::size_t i = 0; i < mirrored.size(); ++i) mirrored[i] = random() % 2 == 1;
      const at::Tensor labels = at::empty({static_cast<std::int64_t>(count)}, at::kLong);
      for (std::size_t i = 0; i < count; ++i)
        labels.mutable_data_ptr<std::int64_t>()[i] = pictures.labels[numbers[i]];
      const at::Tensor mask =
          Draw(random, {static_cast<std::int64_t>(count), kHidden}, 0.5).ge(kDropped - 0.5) / (1 - kDropped);
      const std::int64_t step =
          static_cast<std::int64_t>(b) + static_cast<std::int64_t>(batches) * (epoch - 1);
      optimizer.param_groups()[0].options().set_lr(LearningRate(options.learning_rate, step, steps));
      optimizer.zero_grad();
      const at::Tensor loss = at::cross_entropy_loss(
          state_->Scores(state_->Batch(pictures, numbers, count, mirrored), mask), labels);
      const auto value = loss.item<double>();
      if (!std::isfinite(value)) {
        return Status{
            Code::kPredictionFailed,
            fmt::format("the loss is {} in epoch {}, step {}: training diverged and nothing was packed; try "
                        "a smaller --learning-rate (now {})",
                        value, epoch, b + 1, options.learning_rate)};
      }
      losses += value;
      loss.backward();
      optimizer.step();
    }
    if (stopped) break;
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
    progress({epoch, losses / static_cast<double>(batches), passed.count()});
  }
  for (at::Tensor& parameter : parameters) parameter = parameter.detach().contiguous();
  return stopped;
} catch (const c10::Error& error) {
  return Internal(fmt::format("libtorch refused to train: {}", error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("training failed: {}", error.what()));
}

Result<std::vector<std::vector<std::size_t>>> Network::Confusion(const LabelledPictures& pictures) const try {
  const c10::InferenceMode guard;
  const auto classes = static_cast<std::size_t>(state_->classes);
  std::vector<std::vector<std::size_t>> confusion(classes, std::vector<std::size_t>(classes));
  state_->ForEachBatch(pictures, [&](std::size_t first, const at::Tensor& batch) {
    const at::Tensor best = state_->Scores(batch).argmax(1).contiguous();
    const auto* winners = best.const_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < best.numel(); ++i)
      ++confusion[pictures.labels[first + static_cast<std::size_t>(i)]][static_cast<std::size_t>(winners[i])];
  });
  return confusion;
} catch (const std::exception& error) {
  return Internal(fmt::format("the network does not run: {}", error.what()));
}

Status Network::Export(const std::filesystem::path& file) const try {
  torch::jit::Module module("PictureClassifier");
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    module.register_parameter(kNames[i], state_->parameters[i].detach().contiguous(), /*is_buffer=*/false);
  module.define(kForward);
  module.eval();
  module.save(file.string());
  return {};
} catch (const c10::Error& error) {
  return Internal(
      fmt::format("cannot export the model to {}: {}", file.string(), error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("cannot export the model to {}: {}", file.string(), error.what()));
}

Result<double> Network::CompareExported(const std::filesystem::path& file,
                                        const LabelledPictures& pictures) const try {
  const c10::InferenceMode guard;
  torch::jit::Module module = torch::jit::load(file.string(), c10::kCPU);
  module.eval();
  double largest = 0;
  state_->ForEachBatch(pictures, [&](std::size_t, const at::Tensor& batch) {
    const at::Tensor answer = module.forward({batch.expand({-1, 3, -1, -1})}).toTensor();
    const auto difference = (answer - state_->Scores(batch)).abs().max().item<double>();
    if (!(difference <= largest)) largest = difference;  // lets NaN through
  });
  return largest;
} catch (const c10::Error& error) {
  return Internal(
      fmt::format("the exported {} does not run: {}", file.string(), error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("the exported {} does not run: {}", file.string(), error.what()));
}

std::string Network::WeightsDigest() const {
  Sha256 digest;
  for (const at::Tensor& parameter : state_->parameters) {
    const at::Tensor values = parameter.detach().contiguous();
    digest.Update({reinterpret_cast<const char*>(values.const_data_ptr<float>()), values.nbytes()});
  }
  return digest.Finish();
}

}  // namespace serve::trainer
