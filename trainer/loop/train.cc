#include "trainer/loop/train.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <thread>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/optim/lbfgs.h>

#include "trainer/model/evaluation.h"

namespace serve::trainer {
namespace {

constexpr double kNoChange = 1e-9;  // of the loss: what L-BFGS itself takes for the end

template <class T>
at::Tensor View(const std::vector<T>& values, at::IntArrayRef shape, at::ScalarType type) {
  return at::from_blob(const_cast<T*>(values.data()), shape, type);
}

/// The bags as libtorch sees them: views, nothing is copied.
struct TorchBags {
  explicit TorchBags(const TextBags& bags)
      : ids(View(bags.ids, {static_cast<std::int64_t>(bags.ids.size())}, at::kLong)),
        offsets(View(bags.offsets, {static_cast<std::int64_t>(bags.offsets.size())}, at::kLong)),
        weights(View(bags.weights, {static_cast<std::int64_t>(bags.weights.size())}, at::kFloat)) {}

  [[nodiscard]] at::Tensor Sum(const at::Tensor& table) const {
    return std::get<0>(at::embedding_bag(table, ids, offsets, /*scale_grad_by_freq=*/false, /*mode=*/0,
                                         /*sparse=*/false, weights));
  }

  at::Tensor ids;
  at::Tensor offsets;
  at::Tensor weights;
};

/// What is learned: how far the weights move away from the start, and the bias.
class Fit {
 public:
  Fit(const LabelledBags& data, const LinearTextModel& start, double l2)
      : start_(start),
        l2_(l2),
        bags_(data.bags),
        labels_(View(data.labels, {static_cast<std::int64_t>(data.labels.size())}, at::kLong)),
        start_logits_(bags_.Sum(View(start.weight, Shape(), at::kFloat))),
        change_(at::zeros(Shape(), at::kFloat).set_requires_grad(true)),
        bias_(View(start.bias, {Shape()[1]}, at::kFloat).clone().set_requires_grad(true)),
        optimizer_({change_, bias_},
                   torch::optim::LBFGSOptions(1)
                       .max_iter(1)  // one step is one iteration: its memory goes on to the next
                       .max_eval(25)
                       .history_size(10)
                       .line_search_fn("strong_wolfe")) {}

  void Step() {
    optimizer_.step([this] {
      optimizer_.zero_grad();
      const at::Tensor loss = at::cross_entropy_loss(start_logits_ + bags_.Sum(change_) + bias_, labels_) +
                              change_.square().sum() * (l2_ / 2);
      loss.backward();
      return loss;
    });
  }

  [[nodiscard]] LinearTextModel Model() const {
    LinearTextModel model = start_;
    const auto* change = change_.const_data_ptr<float>();
    for (std::size_t i = 0; i < model.weight.size(); ++i) model.weight[i] += change[i];
    std::memcpy(model.bias.data(), bias_.const_data_ptr<float>(), model.bias.size() * sizeof(float));
    return model;
  }

  [[nodiscard]] double Penalty() const {
    return l2_ / 2 * change_.detach().to(at::kDouble).square().sum().item<double>();
  }

 private:
  [[nodiscard]] std::vector<std::int64_t> Shape() const {
    return {static_cast<std::int64_t>(start_.terms()), static_cast<std::int64_t>(start_.classes)};
  }

  const LinearTextModel& start_;
  const double l2_;
  const TorchBags bags_;
  const at::Tensor labels_;
  const at::Tensor start_logits_;
  at::Tensor change_;
  at::Tensor bias_;
  torch::optim::LBFGS optimizer_;
};

bool Better(const Iteration& a, const Iteration& b) {
  return a.validation_accuracy > b.validation_accuracy ||
         (a.validation_accuracy == b.validation_accuracy && a.loss < b.loss);
}

}  // namespace

Result<TrainResult> Train(const LabelledBags& training, const LabelledBags& validation,
                          const LinearTextModel& start, const TrainOptions& options,
                          const std::function<bool()>& stop,
                          const std::function<void(const Iteration&)>& progress) try {
  at::set_num_threads(options.threads > 0
                          ? options.threads
                          : static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U)));
  Fit fit(training, start, options.l2);
  TrainResult result;
  for (int number = 0; number <= options.max_iterations; ++number) {
    if (number > 0 && stop()) {
      result.stopped_early = true;
      break;
    }
    if (number > 0) fit.Step();
    LinearTextModel model = fit.Model();
    const Evaluation fitted = Evaluate(model, training);
    const Iteration now{number, fitted.log_loss + fit.Penalty(), fitted.accuracy,
                        Evaluate(model, validation).accuracy};
    if (!std::isfinite(now.loss)) {
      return InvalidArgument(
          fmt::format("the loss is {} in iteration {}: training diverged; try a larger --l2 or --smoothing",
                      now.loss, number));
    }
    const bool unchanged = number > 0 && std::fabs(result.history.back().loss - now.loss) < kNoChange;
    result.history.push_back(now);
    if (number == 0 || Better(now, result.history[static_cast<std::size_t>(result.best_iteration)])) {
      result.best_iteration = number;
      result.model = std::move(model);
    }
    progress(now);
    if (unchanged) break;
  }
  return result;
} catch (const c10::Error& error) {
  return Internal(fmt::format("libtorch refused to train: {}", error.what_without_backtrace()));
} catch (const std::exception& error) {
  return Internal(fmt::format("training failed: {}", error.what()));
}

}  // namespace serve::trainer
