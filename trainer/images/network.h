#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "trainer/data/idx.h"

namespace serve::trainer {

struct NetworkOptions {
  int epochs = 4;                // 0 or more
  std::int64_t batch_size = 64;  // pictures of a step
  double learning_rate = 2e-3;   // the highest, a third of the way; it rises to it and falls to 0
  std::uint64_t seed =
      1;  // of the first weights, the order of pictures, what dropout drops, and what is mirrored
  bool mirror = true;  // shows half of the pictures mirrored: right for clothes, wrong for digits
  int threads = 1;     // 0: all processors
};

/// How pictures are normalized: (value / 255 - mean) / std, over the pictures to train on.
struct Normalization {
  double mean = 0;
  double std = 1;
};
Normalization Measure(const LabelledPictures& pictures);

struct Epoch {
  int number = 0;   // from 1
  double loss = 0;  // mean of its steps
  double seconds = 0;
};

/// A small convolutional network for grey pictures: two times (3 × 3 convolution, ReLU, pooling of 2 × 2)
/// with 32 and 64 channels, a layer of 128 with dropout, and the scores. About 420,000 weights for 28 × 28
/// points.
///
/// Threads: one; libtorch uses `threads` of its own.
class Network {
 public:
  Network(std::size_t height, std::size_t width, std::size_t classes, const Normalization& normalization,
          std::uint64_t seed);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// Adam over shuffled batches. `stop` is asked before each; `progress` is told after each epoch. Equal
  /// input gives equal weights on one machine with one number of threads. Answers whether `stop` ended it.
  /// Errors: kPredictionFailed when the loss is no finite number; kInternal with libtorch's reason.
  Result<bool> Train(const LabelledPictures& pictures, const NetworkOptions& options,
                     const std::function<bool()>& stop, const std::function<void(const Epoch&)>& progress);

  /// The confusion matrix [true class][best class]. Errors: kInternal.
  [[nodiscard]] Result<std::vector<std::vector<std::size_t>>> Confusion(
      const LabelledPictures& pictures) const;

  /// As TorchScript made in C++: forward(float32 [n, 3, height, width]), normalized as `normalization` says,
  /// → scores [n, classes]. The three channels are averaged: grey pictures come as RGB. Errors: kInternal.
  [[nodiscard]] Status Export(const std::filesystem::path& file) const;
  /// The largest difference between the scores of the exported file and those of the network on these
  /// pictures.
  [[nodiscard]] Result<double> CompareExported(const std::filesystem::path& file,
                                               const LabelledPictures& pictures) const;

  /// SHA-256 of all weights as little-endian float32.
  [[nodiscard]] std::string WeightsDigest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace serve::trainer
