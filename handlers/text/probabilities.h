#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/request.h"

namespace serve {

/// As Python prints a float, with the shortest digits of a float32: 0.25, 1.0, 5e-05.
void AppendNumber(std::string& text, float value);

/// In place, one row after the other; a row may hold infinities, as long as one value is finite.
void Softmax(float* values, std::size_t rows, std::size_t classes);

/// Writes probabilities as {"World": 0.93, ...}, best first, as Python's json.dumps(indent=2) prints it; of
/// several rows a list, or {"predictions": [...]}.
class ProbabilityWriter {
 public:
  /// `labels` by class; a class without one is named by its number. `most`: how many are written of a row.
  /// A label that comes twice is written once, for its best class.
  explicit ProbabilityWriter(const std::vector<std::string>& labels, std::size_t most = SIZE_MAX);

  /// `probabilities` [rows, classes]. Errors: std::bad_alloc.
  [[nodiscard]] std::string Write(const float* probabilities, std::size_t rows, std::size_t classes,
                                  const RenderHint& hint) const;

 private:
  void AppendRow(std::string& text, const float* probabilities, std::size_t classes,
                 std::size_t indent) const;
  [[nodiscard]] std::string Key(std::size_t index) const;

  std::vector<std::string> keys_;  // `"World": `, by class
  const std::size_t most_;
};

/// The answer of a classifier: the first tensor of `output`, float32 [`rows`, classes], as probabilities;
/// `rows` names them in errors. `softmax`: the model answers logits. Errors:  kPredictionFailed when the
/// model's answer has another form or is not finite.
Result<Response> RenderScores(const Output& output, std::string_view rows, bool softmax,
                              const ProbabilityWriter& writer, const RenderHint& hint);

}  // namespace serve
