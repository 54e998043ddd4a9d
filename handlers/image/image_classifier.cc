#include <vector>

#include <fmt/format.h>

#include "handlers/image/image_handler.h"
#include "handlers/image/vision_handlers.h"
#include "handlers/text/labels.h"
#include "handlers/text/probabilities.h"

namespace serve {
namespace {

class ImageClassifier final : public ImageHandler {
 public:
  ImageClassifier(const HandlerArtifacts& artifacts, const ImageTransform& transform,
                  const std::vector<std::string>& labels, std::int64_t top_k, bool softmax)
      : ImageHandler(artifacts, transform),
        writer_(labels, static_cast<std::size_t>(top_k)),
        softmax_(softmax) {}

  Result<Response> Render(const Output& output, const RenderHint& hint) const override {
    return RenderScores(output, "pictures", softmax_, writer_, hint);
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
