#include "trainer/loop/train.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/optim/lbfgs.h>

#include "trainer/loop/checkpoint.h"
#include "trainer/model/evaluation.h"
#include "trainer/model/objective.h"

namespace serve::trainer {
namespace {

constexpr double kNoChange = 1e-9;  // of the loss: what L-BFGS itself takes for the end

at::Tensor Copy(const std::vector<float>& values, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(values.data()), shape, at::kFloat).clone();
}

/// What is learned: how far the weights move away from the start, and the bias.
class Fit {
 public:
  Fit(const BagChunks& data, const LinearTextModel& start, const TrainOptions& options)
      : data_(data),
        start_(start),
        options_(options),
        change_(at::zeros({static_cast<std::int64_t>(start.terms()), Classes()}, at::kFloat)
                    .set_requires_grad(true)),
        bias_(Copy(start.bias, {Classes()}).set_requires_grad(true)),
        optimizer_({change_, bias_},
                   torch::optim::LBFGSOptions(1)
                       .max_iter(1)  // one step is one iteration: its memory goes on to the next
                       .max_eval(25)
                       .history_size(10)
                       .line_search_fn("strong_wolfe")) {}

  /// Also after the parameters came from a checkpoint.
  void Compute() {
    const auto* change = change_.const_data_ptr<float>();
    model_ = start_;
    for (std::size_t i = 0; i < model_.weight.size(); ++i) model_.weight[i] += change[i];
    std::memcpy(model_.bias.data(), bias_.const_data_ptr<float>(), model_.bias.size() * sizeof(float));
    Objective objective = ComputeObjective(model_, data_, options_.class_weights);
    double squares = 0;
    for (std::size_t i = 0; i < model_.weight.size(); ++i) {
      const double value = change[i];
      squares += value * value;
      objective.weight_gradient[i] += options_.l2 * value;
    }
    loss_ = objective.loss + options_.l2 / 2 * squares;
    accuracy_ = objective.accuracy;
    SetGradient(change_, objective.weight_gradient);
    SetGradient(bias_, objective.bias_gradient);
  }

  /// Compute came before it, and holds for the new parameters after it.
  void Step() {
    bool computed = true;  // L-BFGS asks first for where it stands
    optimizer_.step([this, &computed] {
      if (!std::exchange(computed, false)) Compute();
      return at::scalar_tensor(loss_, at::kDouble);
    });
    Compute();
  }

  [[nodiscard]] double loss() const { return loss_; }
  [[nodiscard]] double accuracy() const { return accuracy_; }
  [[nodiscard]] const LinearTextModel& model() const { return model_; }

  Status Save(const TrainResult& so_far) {
    return SaveCheckpoint(options_.checkpoint.file,
                          {options_.checkpoint.fingerprint, so_far, change_.detach(), bias_.detach()},
                          optimizer_);
  }
  Status Load(TrainResult& so_far) {
    Checkpoint checkpoint{options_.checkpoint.fingerprint, {}, {}, {}};
    if (Status status = LoadCheckpoint(options_.checkpoint.file, checkpoint, optimizer_); !status.ok())
      return status;
    const torch::NoGradGuard no_gradient;
    change_.copy_(checkpoint.change);
    bias_.copy_(checkpoint.bias);
    so_far = std::move(checkpoint.result);
    return {};
  }

 private:
  [[nodiscard]] std::int64_t Classes() const { return static_cast<std::int64_t>(start_.classes); }

  static void SetGradient(at::Tensor& parameter, const std::vector<double>& gradient) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    auto* values = parameter.mutable_grad().mutable_data_ptr<float>();
    std::transform(gradient.begin(), gradient.end(), values, [](double v) { return static_cast<float>(v); });
  }

  const BagChunks& data_;
  const LinearTextModel& start_;
  const TrainOptions& options_;
  at::Tensor change_;
  at::Tensor bias_;
  torch::optim::LBFGS optimizer_;
  LinearTextModel model_;
  double loss_ = 0;
  double accuracy_ = 0;
};

bool Better(const Iteration& a, const Iteration& b) {
  return a.validation_accuracy > b.validation_accuracy ||
         (a.validation_accuracy == b.validation_accuracy && a.loss < b.loss);
}

Status Diverged(const Iteration& now, const TrainOptions& options) {
  const auto& checkpoint = options.checkpoint;
  std::error_code error;
  const bool kept = !checkpoint.file.empty() && std::filesystem::exists(checkpoint.file, error);
  return {Code::kPredictionFailed,
          fmt::format(
              "the loss is {} in iteration {}: training diverged and nothing was packed; try a larger --l2 "
              "(now {}) or --smoothing, or fewer --epochs{}",
              now.loss, now.number, options.l2,
              kept ? fmt::format("; the checkpoint {} is from before that", checkpoint.file.string())
                   : std::string())};
}

/// Adds what the fit has come to; true when the loss did not change any more.
bool Record(const Fit& fit, TrainResult& result, const Iteration& now) {
  const bool unchanged = now.number > 0 && std::fabs(result.history.back().loss - now.loss) < kNoChange;
  result.history.push_back(now);
  if (now.number == 0 || Better(now, result.history[static_cast<std::size_t>(result.best_iteration)])) {
    result.best_iteration = now.number;
    result.model = fit.model();
  }
  return unchanged;
}

}  // namespace

Result<TrainResult> Train(const BagChunks& training, const BagChunks& validation,
                          const LinearTextModel& start, const TrainOptions& options,
                          const std::function<bool()>& stop,
                          const std::function<void(const Iteration&)>& progress) try {
  at::set_num_threads(options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)));
  const CheckpointOptions& checkpoint = options.checkpoint;
  Fit fit(training, start, options);
  TrainResult result;
  std::error_code error;
  if (checkpoint.resume && std::filesystem::exists(checkpoint.file, error)) {
    if (Status status = fit.Load(result); !status.ok()) return status;
  }
  fit.Compute();
  for (int number = result.resumed_from + 1; number <= options.max_iterations; ++number) {
    if (number > 0 && stop()) {
      result.stopped_early = true;
      break;
    }
    if (number > 0) fit.Step();
    const Iteration now{number, fit.loss(), fit.accuracy(), Evaluate(fit.model(), validation).accuracy};
    if (!std::isfinite(now.loss)) return Diverged(now, options);
    const bool unchanged = Record(fit, result, now);
    progress(now);
    if (unchanged) break;
    if (options.patience > 0 && number - result.best_iteration >= options.patience) {
      result.out_of_patience = true;
      break;
    }
    if (!checkpoint.file.empty() && number > 0 && number % checkpoint.every == 0) {
      if (Status status = fit.Save(result); !status.ok()) return status;
    }
  }
  if (result.stopped_early && !checkpoint.file.empty()) {
    if (Status status = fit.Save(result); !status.ok()) return status;
  }
  return result;
} catch (const c10::Error& error) {
  return Internal(fmt::format("libtorch refused to train: {}", error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("training failed: {}", error.what()));
}

}  // namespace serve::trainer
