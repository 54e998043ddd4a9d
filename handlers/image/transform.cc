#include "handlers/image/transform.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "handlers/image/resample.h"

namespace serve {
namespace {

/// Where CenterCrop starts: round((size - crop) / 2), a half to the even side, as Python rounds.
std::int64_t CropStart(std::int64_t size, std::int64_t crop) {
  const std::int64_t both = size - crop;
  const std::int64_t half = both / 2;
  return both % 2 != 0 && half % 2 != 0 ? half + 1 : half;
}

ResizedSpan SpanOf(std::int64_t side, std::int64_t shorter, const ImageTransform& transform) {
  const std::int64_t size = transform.resize * side / shorter;
  return {size, CropStart(size, transform.crop), transform.crop};
}

/// Interleaved 8-bit RGB to three planes of floats.
void ToPlanes(const std::uint8_t* rgb, std::size_t pixels, const ImageTransform& transform, float* out) {
  for (std::size_t c = 0; c < 3; ++c, out += pixels) {
    std::array<float, 256> value{};
    for (std::size_t byte = 0; byte < value.size(); ++byte) {
      value[byte] = (static_cast<float>(byte) / 255.0F - transform.mean[c]) / transform.std[c];
    }
    for (std::size_t i = 0; i < pixels; ++i) out[i] = value[rgb[i * 3 + c]];
  }
}

}  // namespace

void Transform(const Picture& picture, const ImageTransform& transform, float* out) {
  if (transform.keeps_size()) {
    ToPlanes(reinterpret_cast<const std::uint8_t*>(picture.rgb.data()),
             static_cast<std::size_t>(picture.width * picture.height), transform, out);
    return;
  }
  const std::int64_t shorter = std::min(picture.width, picture.height);
  const std::vector<std::uint8_t> cropped = Resample(picture, SpanOf(picture.width, shorter, transform),
                                                     SpanOf(picture.height, shorter, transform));
  ToPlanes(cropped.data(), static_cast<std::size_t>(transform.crop * transform.crop), transform, out);
}

}  // namespace serve
