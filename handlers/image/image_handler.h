#pragma once

#include <string>
#include <vector>

#include "handlers/handler.h"
#include "handlers/image/image_input.h"
#include "handlers/image/transform.h"

namespace serve {

/// What the handlers of vision models share: pictures in, [n, 3, height, width] float32 for the module.
///
/// Prepare reads the headers and keeps the encoded bytes, so the queue holds what came over the wire; Decode
/// makes the tensor on the worker.
/// Warm-up: SyntheticSample is a grey picture (zeros after Normalize).
/// Threads: const and free of locks.
class ImageHandler : public Handler {
 public:
  Result<Sample> Prepare(Request request) const override;
  [[nodiscard]] bool Decodes() const override { return true; }
  Status Decode(Sample& sample) const override;
  Result<Sample> SyntheticSample() const override;

 protected:
  ImageHandler(const HandlerArtifacts& artifacts, const ImageTransform& transform);

 private:
  /// [rows, 3, height, width] of what the transform makes of such a picture.
  [[nodiscard]] std::vector<std::int64_t> ShapeOf(std::int64_t rows, std::int64_t width,
                                                  std::int64_t height) const;

  const ImageTransform transform_;
  const ImageLimits limits_;
  TensorSpec tensor_;  // what a list of numbers must be
};

/// Reads the options `resize`, `crop`, `mean` and `std` into `transform`.
void ReadTransform(OptionReader& options, ImageTransform& transform);
/// Refuses a transform that cannot be made, or that gives another size than the archive declares.
Status CheckTransform(const ImageTransform& transform, const std::vector<TensorSpec>& inputs);

}  // namespace serve
