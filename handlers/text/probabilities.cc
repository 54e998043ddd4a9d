#include "handlers/text/probabilities.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <new>
#include <numeric>
#include <set>

#include <fmt/format.h>

#include "handlers/handler.h"
#include "handlers/text/labels.h"

namespace serve {

void AppendNumber(std::string& text, float value) {
  char digits[64];
  const float size = std::fabs(value);
  const bool fixed = size == 0 || (size >= 1e-4F && size < 1e16F);
  char* const end = std::to_chars(digits, digits + sizeof digits, value,
                                  fixed ? std::chars_format::fixed : std::chars_format::scientific)
                        .ptr;
  text.append(digits, end);
  if (fixed && std::find(digits, end, '.') == end) text += ".0";
}

void Softmax(float* values, std::size_t rows, std::size_t classes) {
  for (std::size_t row = 0; row < rows; ++row, values += classes) {
    const float most = *std::max_element(values, values + classes);
    float sum = 0;
    for (std::size_t i = 0; i < classes; ++i) sum += values[i] = std::exp(values[i] - most);
    for (std::size_t i = 0; i < classes; ++i) values[i] /= sum;
  }
}

ProbabilityWriter::ProbabilityWriter(const std::vector<std::string>& labels, std::size_t most) : most_(most) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    keys_.push_back(labels[i].empty() ? fmt::format("\"{}\": ", i) : QuoteAscii(labels[i]) + ": ");
  }
}

std::string ProbabilityWriter::Write(const float* probabilities, std::size_t rows, std::size_t classes,
                                     const RenderHint& hint) const {
  std::string text;
  if (hint.single_row && rows == 1) {
    AppendRow(text, probabilities, classes, 0);
    return text;
  }
  const std::size_t indent = hint.instances ? 4 : 2;
  text = hint.instances ? "{\n  \"predictions\": [\n" : "[\n";
  for (std::size_t i = 0; i < rows; ++i, probabilities += classes) {
    if (i > 0) text += ",\n";
    text.append(indent, ' ');
    AppendRow(text, probabilities, classes, indent);
  }
  text += hint.instances ? "\n  ]\n}" : "\n]";
  return text;
}

std::string ProbabilityWriter::Key(std::size_t index) const {
  return index < keys_.size() ? keys_[index] : fmt::format("\"{}\": ", index);
}

void ProbabilityWriter::AppendRow(std::string& text, const float* probabilities, std::size_t classes,
                                  std::size_t indent) const {
  std::vector<std::size_t> order(classes);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t count = std::min(most_, classes);
  // By class where two are equal.
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [probabilities](std::size_t a, std::size_t b) {
                      return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b]
                                                                  : a < b;
                    });
  text += '{';
  std::set<std::string> written;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [key, is_new] = written.insert(Key(order[i]));
    if (!is_new) continue;
    text += written.size() == 1 ? "\n" : ",\n";
    text.append(indent + 2, ' ');
    text += *key;
    AppendNumber(text, probabilities[order[i]]);
  }
  text += '\n';
  text.append(indent, ' ');
  text += '}';
}

Result<Response> RenderScores(const Output& output, std::string_view rows, bool softmax,
                              const ProbabilityWriter& writer, const RenderHint& hint) try {
  if (output.tensors.empty()) return UnusableOutput("the model answered nothing");
  const Tensor& scores = output.tensors.front();
  if (scores.dtype != DType::kFloat32 || scores.shape.size() != 2 || scores.shape[1] == 0) {
    return UnusableOutput(fmt::format("the model answered {} {}, expected scores as float32 [{}, classes]",
                                      DTypeName(scores.dtype), ShapeText(scores.shape), rows));
  }
  const auto count = static_cast<std::size_t>(scores.shape[0]);
  const auto classes = static_cast<std::size_t>(scores.shape[1]);
  std::vector<float> values(scores.as<float>(), scores.as<float>() + scores.elements());
  if (softmax) Softmax(values.data(), count, classes);
  if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
    return UnusableOutput("the model answered a score that is no finite number");
  }
  return Response{writer.Write(values.data(), count, classes, hint)};
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for the answer"};
}

}  // namespace serve
