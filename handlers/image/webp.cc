#include <cstdint>
#include <webp/decode.h>

#include <climits>

#include "handlers/image/codecs.h"

namespace serve {
namespace {

std::string_view Reason(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the data is cut off";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "not enough memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "it uses a feature that cannot be read";
    default:
      return "the data is damaged";
  }
}

}  // namespace

Status DecodeWebp(std::string_view bytes, Picture& picture) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return Internal("libwebp is of another version than its header");
  if (const VP8StatusCode code = WebPGetFeatures(data, bytes.size(), &config.input); code != VP8_STATUS_OK) {
    return BadPicture(PictureFormat::kWebp, Reason(code));
  }
  if (config.input.has_animation != 0) {
    return BadPicture(PictureFormat::kWebp, "it is animated; send a single picture");
  }
  if (config.input.width != picture.width || config.input.height != picture.height) {
    return BadPicture(PictureFormat::kWebp, "it has two sizes");
  }
  if (picture.rgb.size() > INT_MAX || picture.width > INT_MAX / 3) {
    return BadPicture(PictureFormat::kWebp, "it is too large");
  }
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = reinterpret_cast<std::uint8_t*>(picture.rgb.data());
  config.output.u.RGBA.stride = static_cast<int>(picture.width * 3);
  config.output.u.RGBA.size = picture.rgb.size();
  const VP8StatusCode code = WebPDecode(data, bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  return code == VP8_STATUS_OK ? Status{} : BadPicture(PictureFormat::kWebp, Reason(code));
}

}  // namespace serve
