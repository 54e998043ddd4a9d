#pragma once

#include <array>
#include <cstdint>

#include "handlers/image/picture.h"

namespace serve {

/// How a picture becomes the model's input: Resize (shorter side), CenterCrop, ToTensor, Normalize, as
/// torchvision does it on Pillow pictures. The defaults are those of ImageNet.
struct ImageTransform {
  std::int64_t resize = 256;  // of the shorter side; 0: neither resized nor cropped
  std::int64_t crop = 224;    // at most `resize`
  std::array<float, 3> mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> std = {0.229F, 0.224F, 0.225F};

  [[nodiscard]] bool keeps_size() const { return resize == 0; }
};

/// Only [0, 1], in the picture's own size: what a detector takes.
inline constexpr ImageTransform kToTensorOnly = {0, 0, {0, 0, 0}, {1, 1, 1}};

/// Writes [3, crop, crop] to `out` (keeps_size: [3, height, width]). Errors: std::bad_alloc.
void Transform(const Picture& picture, const ImageTransform& transform, float* out);

}  // namespace serve
