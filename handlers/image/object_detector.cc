#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "handlers/image/image_handler.h"
#include "handlers/image/vision_handlers.h"
#include "handlers/text/labels.h"
#include "handlers/text/probabilities.h"

namespace serve {
namespace {

enum Part : std::size_t { kBoxes, kLabels, kScores, kParts };
constexpr std::array<std::string_view, kParts> kPartNames = {"boxes", "labels", "scores"};

/// boxes [k, 4], labels [k], scores [k] of each picture.
using Detections = std::vector<std::array<Tensor, kParts>>;

std::string ShapesText(const std::vector<Tensor>& outputs) {
  std::string text;
  for (std::size_t i = 0; i < outputs.size() && i < 6; ++i) {
    text +=
        fmt::format("{}{} {}", i == 0 ? "" : ", ", DTypeName(outputs[i].dtype), ShapeText(outputs[i].shape));
  }
  return text;
}

/// Row `row` of a tensor [n, ...].
Tensor RowOf(const Tensor& tensor, std::int64_t row) {
  Tensor part = tensor.Rows(row, 1);
  part.shape.erase(part.shape.begin());
  return part;
}

/// The module's three tensors of one picture or of the whole batch; `names` may be empty.
Result<std::array<Tensor, kParts>> ByName(const Tensor* outputs, const std::string* names,
                                          std::size_t count) {
  std::array<Tensor, kParts> parts;
  for (std::size_t part = 0; part < kParts; ++part) {
    std::size_t at = part;
    if (names != nullptr) {
      at = static_cast<std::size_t>(std::find(names, names + count, kPartNames[part]) - names);
    }
    if (at >= count) {
      return UnusableOutput(
          fmt::format("the model's answer has no {}; expected boxes, labels and scores", kPartNames[part]));
    }
    parts[part] = outputs[at];
  }
  return parts;
}

Result<Detections> Divide(const std::vector<Tensor>& outputs, const std::vector<std::string>& names,
                          std::int64_t pictures) {
  const std::string* const named = names.size() == outputs.size() ? names.data() : nullptr;
  Detections detections;
  const auto count = static_cast<std::size_t>(pictures);
  const std::size_t each = count == 0 ? 0 : outputs.size() / count;
  // A list with a dictionary for each picture comes one picture behind the other; boxes [k, 4] tell it apart.
  if (!outputs.empty() && outputs.size() == each * count && each >= kParts) {
    const auto boxes = named == nullptr ? named : std::find(named, named + each, kPartNames[kBoxes]);
    const std::size_t at = named == nullptr ? 0 : static_cast<std::size_t>(boxes - named);
    if (at < each && outputs[at].shape.size() == 2) {
      for (std::size_t i = 0; i < count; ++i) {
        auto parts = ByName(outputs.data() + i * each, named == nullptr ? nullptr : named + i * each, each);
        if (!parts) return parts.error();
        detections.push_back(std::move(*parts));
      }
      return detections;
    }
  }
  auto all = ByName(outputs.data(), named, outputs.size());
  if (!all) return all.error();
  for (const Tensor& tensor : *all) {
    if (tensor.shape.size() < 2 || tensor.shape[0] != pictures) {
      return UnusableOutput(
          fmt::format("the model answered {} for {} pictures; expected boxes [{}, k, 4], labels [{}, k] and "
                      "scores [{}, k], or a dictionary for each picture",
                      ShapesText(outputs), pictures, pictures, pictures, pictures));
    }
  }
  for (std::int64_t i = 0; i < pictures; ++i) {
    detections.push_back({RowOf((*all)[kBoxes], i), RowOf((*all)[kLabels], i), RowOf((*all)[kScores], i)});
  }
  return detections;
}

/// The class of a box; labels may be of any type for whole numbers, or floats.
std::int64_t LabelAt(const Tensor& labels, std::int64_t i) {
  switch (labels.dtype) {
    case DType::kInt64:
      return labels.as<std::int64_t>()[i];
    case DType::kInt32:
      return labels.as<std::int32_t>()[i];
    case DType::kUInt8:
      return labels.as<std::uint8_t>()[i];
    case DType::kFloat32:
      return static_cast<std::int64_t>(std::clamp(labels.as<float>()[i], -1.0F, 1e6F));
    default:
      return -1;
  }
}

Status CheckParts(const std::array<Tensor, kParts>& parts) {
  const Tensor& boxes = parts[kBoxes];
  const Tensor& labels = parts[kLabels];
  const Tensor& scores = parts[kScores];
  const bool fits = boxes.dtype == DType::kFloat32 && boxes.shape.size() == 2 && boxes.shape[1] == 4 &&
                    (labels.dtype == DType::kInt64 || labels.dtype == DType::kInt32 ||
                     labels.dtype == DType::kUInt8 || labels.dtype == DType::kFloat32) &&
                    labels.shape.size() == 1 && labels.shape[0] == boxes.shape[0] &&
                    scores.dtype == DType::kFloat32 && scores.shape == labels.shape;
  if (fits) return {};
  return UnusableOutput(
      fmt::format("the model answered {} for a picture; expected boxes float32 [k, 4], labels "
                  "[k] and scores float32 [k]",
                  ShapesText({boxes, labels, scores})));
}

class ObjectDetector final : public ImageHandler {
 public:
  ObjectDetector(const HandlerArtifacts& artifacts, const std::vector<std::string>& labels, float threshold)
      : ImageHandler(artifacts, kToTensorOnly), threshold_(threshold) {
    for (const std::string& label : labels) {
      keys_.push_back(label.empty() ? std::string() : QuoteAscii(label));
    }
  }

  /// Three tensors for each picture of a sample.
  Result<std::vector<Output>> Split(const std::vector<Tensor>& outputs, const std::vector<std::string>& names,
                                    const std::vector<const Sample*>& samples) const override try {
    std::int64_t total = 0;
    for (const Sample* sample : samples) total += sample->rows;
    Result<Detections> detections = Divide(outputs, names, total);
    if (!detections) return detections.error();
    std::vector<Output> parts(samples.size());
    auto next = detections->begin();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      for (std::int64_t row = 0; row < samples[i]->rows; ++row, ++next) {
        if (Status status = CheckParts(*next); !status.ok()) return status;
        for (Tensor& tensor : *next) parts[i].tensors.push_back(std::move(tensor));
      }
    }
    return parts;
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override try {
    const std::size_t pictures = output.tensors.size() / kParts;
    std::string text;
    if (hint.instances) text += "{\"predictions\": ";
    if (!hint.single_row) text += '[';
    for (std::size_t i = 0; i < pictures; ++i) {
      if (i > 0) text += ", ";
      AppendPicture(text, &output.tensors[i * kParts]);
    }
    if (!hint.single_row) text += ']';
    if (hint.instances) text += '}';
    return Response{std::move(text)};
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

 private:
  [[nodiscard]] std::string KeyOf(std::int64_t label) const {
    const auto index = static_cast<std::size_t>(label);
    if (label >= 0 && index < keys_.size() && !keys_[index].empty()) return keys_[index];
    return fmt::format("\"{}\"", label);
  }

  /// A box that is no finite number is not there.
  [[nodiscard]] bool Shown(const float* box, float score) const {
    return score >= threshold_ && std::isfinite(score) &&
           std::all_of(box, box + 4, [](float side) { return std::isfinite(side); });
  }

  void AppendPicture(std::string& text, const Tensor* parts) const {
    const auto* boxes = parts[kBoxes].as<float>();
    const auto* scores = parts[kScores].as<float>();
    bool first = true;
    text += '[';
    for (std::int64_t i = 0; i < parts[kScores].elements(); ++i) {
      const float* box = boxes + 4 * i;
      if (!Shown(box, scores[i])) continue;
      text += first ? "\n  {\n    " : ",\n  {\n    ";
      first = false;
      text += KeyOf(LabelAt(parts[kLabels], i));
      text += ": [";
      for (int side = 0; side < 4; ++side) {
        text += side == 0 ? "\n      " : ",\n      ";
        AppendNumber(text, box[side]);
      }
      text += "\n    ],\n    \"score\": ";
      AppendNumber(text, scores[i]);
      text += "\n  }";
    }
    text += first ? "]" : "\n]";
  }

  std::vector<std::string> keys_;  // in quotes, by class; empty: none
  const float threshold_;
};

}  // namespace

Result<std::unique_ptr<Handler>> MakeObjectDetector(const HandlerArtifacts& artifacts) {
  double threshold = 0.5;
  OptionReader options(artifacts.options);
  options.Read("threshold", 0.0, 1.0, threshold);
  if (Status status = options.Finish("object_detector"); !status.ok()) return status;
  if (Status status = CheckTransform(kToTensorOnly, artifacts.inputs); !status.ok()) return status;
  const Result<std::vector<std::string>> labels = ReadClassNames(artifacts.folder / kLabelsFile);
  if (!labels) return labels.error();
  return std::unique_ptr<Handler>(
      std::make_unique<ObjectDetector>(artifacts, *labels, static_cast<float>(threshold)));
}

}  // namespace serve
