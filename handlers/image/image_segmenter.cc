#include <algorithm>
#include <cmath>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "handlers/image/image_handler.h"
#include "handlers/image/vision_handlers.h"
#include "handlers/tensor/json_writer.h"

namespace serve {
namespace {

/// scores [classes][points] of one picture → (class, probability) for each point. The probability of the best
/// class is 1 / Σ exp(score - best score).
void BestOf(const float* scores, std::size_t classes, std::size_t points, float* out) {
  std::vector<float> best(scores, scores + points);
  std::vector<std::size_t> index(points, 0);
  for (std::size_t c = 1; c < classes; ++c) {
    const float* plane = scores + c * points;
    for (std::size_t i = 0; i < points; ++i) {
      if (plane[i] > best[i]) {
        best[i] = plane[i];
        index[i] = c;
      }
    }
  }
  std::vector<float> sum(points, 0.0F);
  for (std::size_t c = 0; c < classes; ++c) {
    const float* plane = scores + c * points;
    for (std::size_t i = 0; i < points; ++i) sum[i] += std::exp(plane[i] - best[i]);
  }
  for (std::size_t i = 0; i < points; ++i) {
    out[2 * i] = static_cast<float>(index[i]);
    out[2 * i + 1] = 1.0F / sum[i];
  }
}

class ImageSegmenter final : public ImageHandler {
 public:
  ImageSegmenter(const HandlerArtifacts& artifacts, const ImageTransform& transform)
      : ImageHandler(artifacts, transform) {}

  /// On the worker: a softmax over some million scores is too slow for an I/O thread.
  Result<std::vector<Output>> Split(const std::vector<Tensor>& outputs, const std::vector<std::string>& names,
                                    const std::vector<const Sample*>& samples) const override try {
    const auto named = std::find(names.begin(), names.end(), "out");
    const std::size_t at = named == names.end() ? 0 : static_cast<std::size_t>(named - names.begin());
    const Tensor& scores = outputs.at(at);
    if (scores.dtype != DType::kFloat32 || scores.shape.size() != 4 || scores.elements() == 0) {
      return Status{Code::kPredictionFailed,
                    fmt::format("Prediction failed: the model answered {} {}, expected scores as float32 "
                                "[pictures, classes, height, width], alone or named \"out\"",
                                DTypeName(scores.dtype), ShapeText(scores.shape))};
    }
    const auto classes = static_cast<std::size_t>(scores.shape[1]);
    const auto points = static_cast<std::size_t>(scores.shape[2] * scores.shape[3]);
    Tensor result = Tensor::Empty(DType::kFloat32, {scores.shape[0], scores.shape[2], scores.shape[3], 2});
    for (std::size_t row = 0; row < static_cast<std::size_t>(scores.shape[0]); ++row) {
      BestOf(scores.as<float>() + row * classes * points, classes, points,
             result.as<float>() + row * points * 2);
    }
    return ImageHandler::Split({std::move(result)}, {}, samples);
  } catch (const std::bad_alloc&) {
    return Status{Code::kResourceExhausted, "not enough memory for the answer"};
  }

  Result<Response> Render(const Output& output, const RenderHint& hint) const override {
    return RenderJson(output, hint);
  }
};

}  // namespace

Result<std::unique_ptr<Handler>> MakeImageSegmenter(const HandlerArtifacts& artifacts) {
  ImageTransform transform;
  OptionReader options(artifacts.options);
  ReadTransform(options, transform);
  if (Status status = options.Finish("image_segmenter"); !status.ok()) return status;
  if (Status status = CheckTransform(transform, artifacts.inputs); !status.ok()) return status;
  return std::unique_ptr<Handler>(std::make_unique<ImageSegmenter>(artifacts, transform));
}

}  // namespace serve
