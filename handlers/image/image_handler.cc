#include "handlers/image/image_handler.h"

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "handlers/image/picture.h"
#include "handlers/tensor/json_source.h"     // BadInput
#include "handlers/tensor/tensor_handler.h"  // ShapeKey

namespace serve {
namespace {

/// A side of the picture for warm-up where none is declared.
constexpr std::int64_t kSyntheticSide = 256;

std::string_view View(const Tensor& encoded) {
  return {reinterpret_cast<const char*>(encoded.data.get()), encoded.bytes()};
}

std::string PlaceOf(std::size_t index, std::size_t count) {
  return count == 1 ? std::string() : fmt::format("picture {}: ", index);
}

}  // namespace

ImageHandler::ImageHandler(const HandlerArtifacts& artifacts, const ImageTransform& transform)
    : transform_(transform),
      limits_{artifacts.max_image_pixels},
      tensor_{"data", DType::kFloat32, {-1, -1, -1}} {
  if (artifacts.inputs.size() == 1 && artifacts.inputs[0].shape.size() == 3) {
    tensor_.shape = artifacts.inputs[0].shape;
  }
}

Result<Sample> ImageHandler::Prepare(Request request) const try {
  Result<Sample> sample = ReadImages(std::move(request), limits_, tensor_);
  if (!sample) return sample;
  if (!IsEncoded(*sample)) {
    sample->shape_key = ShapeKey(sample->inputs);
    return sample;
  }
  Tensor decoded;  // without memory: what Decode will make
  for (const Tensor& encoded : sample->inputs) {
    const Result<PictureHeader> header = ReadPictureHeader(View(encoded));
    if (!header) return header.error();
    std::vector<std::int64_t> shape = ShapeOf(sample->rows, header->width, header->height);
    if (!decoded.shape.empty() && decoded.shape != shape) {
      return BadInput(
          "the pictures of one request must be of one size, for this model takes them as they are");
    }
    decoded.shape = std::move(shape);
  }
  sample->shape_key = ShapeKey({decoded});
  return sample;
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for the pictures of this request"};
}

Status ImageHandler::Decode(Sample& sample) const try {
  if (!IsEncoded(sample)) return {};
  Tensor tensor;
  float* out = nullptr;
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    Tensor& encoded = sample.inputs[i];
    const Result<PictureHeader> header = ReadPictureHeader(View(encoded));
    if (!header) return header.error();
    const Result<Picture> picture = DecodePicture(View(encoded), *header);
    if (!picture) {
      return {picture.error().code, PlaceOf(i, sample.inputs.size()) + picture.error().message};
    }
    if (out == nullptr) {
      tensor = Tensor::Empty(DType::kFloat32, ShapeOf(sample.rows, header->width, header->height));
      out = tensor.as<float>();
    }
    Transform(*picture, transform_, out);
    out += tensor.elements() / sample.rows;
    encoded.data.reset();
  }
  sample.inputs = {std::move(tensor)};
  return {};
} catch (const std::bad_alloc&) {
  return {Code::kResourceExhausted, "not enough memory to decode the pictures of this request"};
}

Result<Sample> ImageHandler::SyntheticSample() const try {
  std::vector<std::int64_t> shape = ShapeOf(1, kSyntheticSide, kSyntheticSide);
  for (std::size_t i = 0; i < tensor_.shape.size(); ++i) {
    if (tensor_.shape[i] > 0) shape[i + 1] = tensor_.shape[i];
  }
  Sample sample;
  sample.inputs.push_back(Tensor::Empty(DType::kFloat32, std::move(shape)));
  std::fill_n(sample.inputs[0].as<float>(), sample.inputs[0].elements(), 0.0F);
  sample.shape_key = ShapeKey(sample.inputs);
  return sample;
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for a picture"};
}

std::vector<std::int64_t> ImageHandler::ShapeOf(std::int64_t rows, std::int64_t width,
                                                std::int64_t height) const {
  if (transform_.keeps_size()) return {rows, 3, height, width};
  return {rows, 3, transform_.crop, transform_.crop};
}

void ReadTransform(OptionReader& options, ImageTransform& transform) {
  options.Read("resize", 1, 16'384, transform.resize);
  options.Read("crop", 1, 16'384, transform.crop);
  options.Read("mean", transform.mean);
  options.Read("std", transform.std);
}

Status CheckTransform(const ImageTransform& transform, const std::vector<TensorSpec>& inputs) {
  if (transform.crop > transform.resize) {
    return InvalidArgument(
        fmt::format("the handler option crop is {}; it must be at most resize, which is {}", transform.crop,
                    transform.resize));
  }
  if (std::find(transform.std.begin(), transform.std.end(), 0.0F) != transform.std.end()) {
    return InvalidArgument("the handler option std must not be 0");
  }
  if (inputs.empty()) return {};
  const TensorSpec& input = inputs.front();
  const std::vector<std::int64_t> made = {3, transform.crop, transform.crop};
  bool fits = inputs.size() == 1 && input.dtype == DType::kFloat32 && input.shape.size() == made.size();
  for (std::size_t i = 0; fits && i < made.size(); ++i) {
    fits = transform.keeps_size() && i > 0 ? true : input.shape[i] < 0 || input.shape[i] == made[i];
  }
  if (fits) return {};
  return InvalidArgument(
      fmt::format("the archive declares the input {}, but this handler makes one float32 {} of a picture; "
                  "set the handler "
                  "options resize and crop, or use the handler tensor",
                  SpecText(input), transform.keeps_size() ? "[3, height, width]" : ShapeText(made)));
}

}  // namespace serve
