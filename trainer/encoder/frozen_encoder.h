#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serve/base/status.h"
#include "trainer/data/dataset.h"

namespace serve::trainer {

/// Texts as vectors of unit length, one behind the other.
struct Vectors {
  std::size_t size = 0;       // of each
  std::vector<float> values;  // [texts, size]
  std::vector<std::int64_t> labels;
};

/// A linear layer on such vectors.
struct Head {
  std::vector<float> weight;  // [size, classes]
  std::vector<float> bias;    // [classes]
};

/// A sentence encoder that stays as it is: TorchScript, forward(input_ids, attention_mask int64 [n, tokens])
/// → float32 [n, size], or [n, tokens, size], which is averaged over the tokens. Texts are cut and padded as
/// the handler text_classifier does it.
///
/// Threads: one.
class FrozenEncoder {
 public:
  /// `vocabulary`: the folder that LoadSubwordTokenizer reads. `max_length` in tokens.
  /// Errors: kInvalidArgument: no module, no vocabulary, or it does not answer as above; kInternal.
  static Result<FrozenEncoder> Load(const std::filesystem::path& file,
                                    const std::filesystem::path& vocabulary, std::int64_t max_length,
                                    int threads);
  FrozenEncoder(FrozenEncoder&&) noexcept;
  ~FrozenEncoder();

  /// `progress` is told how many texts are done; it answers whether to go on. Errors: kInternal;
  /// kUnavailable: told to end.
  [[nodiscard]] Result<Vectors> Encode(const std::vector<LabelledText>& rows,
                                       const std::function<bool(std::size_t)>& progress) const;

  /// Writes encoder and head as one module: forward(input_ids, attention_mask) → scores [n, classes]. Errors:
  /// kInternal.
  [[nodiscard]] Status Export(const Head& head, const std::filesystem::path& file) const;
  /// Runs the exported file on these rows: the largest difference from the head's own scores of `vectors`,
  /// theirs.
  [[nodiscard]] Result<double> CompareExported(const std::filesystem::path& file,
                                               const std::vector<LabelledText>& rows, const Vectors& vectors,
                                               const Head& head) const;

 private:
  struct State;
  explicit FrozenEncoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Softmax regression by L-BFGS: mean cross-entropy (rows weighed by class; empty: 1 each) + l2 / 2 · Σ
/// weight². Starts at 0; nothing is drawn at random. Errors: kPredictionFailed when the loss is no finite
/// number; kInternal.
Result<Head> FitHead(const Vectors& vectors, std::size_t classes, double l2, int iterations,
                     const std::vector<double>& class_weights);

/// [texts, classes]
std::vector<double> HeadScores(const Head& head, const Vectors& vectors);

}  // namespace serve::trainer
