#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include <fmt/format.h>

#include "handlers/image/image_handler.h"
#include "handlers/image/vision_handlers.h"
#include "handlers/text/labels.h"
#include "handlers/text/probabilities.h"

namespace serve {
namespace {

Status Unusable(std::string message) {
  return {Code::kPredictionFailed, "Prediction failed: " + std::move(message)};
}

class ImageClassifier final : public ImageHandler {
 public:
  ImageClassifier(const HandlerArtifacts& artifacts, const ImageTransform& transform,
                  const std::vector<std::string>& labels, std::int64_t top_k, bool softmax)
      : ImageHandler(artifacts, transform),
        writer_(labels, static_cast<std::size_t>(top_k)),
        softmax_(softmax) {}

  Result<Response> Render(const Output& output, const RenderHint& hint) const override try {
    if (output.tensors.empty()) return Unusable("the model answered nothing");
    const Tensor& scores = output.tensors.front();
    if (scores.dtype != DType::kFloat32 || scores.shape.size() != 2 || scores.shape[1] == 0) {
      return Unusable(fmt::format("the model answered {} {}, expected scores as float32 [pictures, classes]",
                                  DTypeName(scores.dtype), ShapeText(scores.shape)));
    }
    std::vector<float> values(scores.as<float>(), scores.as<float>() + scores.elements());
    const auto rows = static_cast<std::size_t>(scores.shape[0]);
    const auto classes = static_cast<std::size_t>(scores.shape[1]);
    if (softmax_) Softmax(values.data(), rows, classes);
    if (!std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); })) {
      return Unusable("the model answered a score that is no finite number");
    }
    return Response{writer_.Write(values.data(), rows, classes, hint)};
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

 private:
  const ProbabilityWriter writer_;
  const bool softmax_;
};

}  // namespace

Result<std::unique_ptr<Handler>> MakeImageClassifier(const HandlerArtifacts& artifacts) {
  ImageTransform transform;
  std::int64_t top_k = 5;
  bool softmax = true;
  OptionReader options(artifacts.options);
  ReadTransform(options, transform);
  options.Read("top_k", 1, kMaxLabels, top_k);
  options.Read("softmax", softmax);
  if (Status status = options.Finish("image_classifier"); !status.ok()) return status;
  if (Status status = CheckTransform(transform, artifacts.inputs); !status.ok()) return status;
  const Result<std::vector<std::string>> labels = ReadClassNames(artifacts.folder / kLabelsFile);
  if (!labels) return labels.error();
  return std::unique_ptr<Handler>(
      std::make_unique<ImageClassifier>(artifacts, transform, *labels, top_k, softmax));
}

}  // namespace serve
