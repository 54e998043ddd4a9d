#include "handlers/tensor/binary_reader.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "handlers/tensor/json_source.h"

namespace serve {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors travel as little-endian bytes, without a swap");

/// [rows, ...] for a body of `size` bytes.
Result<std::vector<std::int64_t>> ShapeFor(const TensorSpec& spec, std::string_view body) {
  const auto free_dims = std::count(spec.shape.begin(), spec.shape.end(), -1);
  if (free_dims > 1) {
    return BadInput(
        fmt::format("input \"{}\" has {} free dimensions ({}); raw bytes can give the size of one only: "
                    "send JSON",
                    Excerpt(spec.name), free_dims, ShapeText(spec.shape)));
  }
  // Of a row, or of one step of the free dimension.
  std::size_t unit = 0;
  const bool fits = RowBytes(spec, 1, unit);
  if (!fits || unit == 0 || body.empty() || body.size() % unit != 0) {
    const std::string_view hint = body.starts_with('[') || body.starts_with('{')
                                      ? "; if the body is JSON, send Content-Type: application/json"
                                      : "";
    return BadInput(fmt::format("input \"{}\" ({} {}): expected {} {} bytes, got {}{}", Excerpt(spec.name),
                                DTypeName(spec.dtype), ShapeText(spec.shape), "a multiple of",
                                fits ? fmt::to_string(unit) : "more than 2^62", body.size(), hint));
  }
  const auto count = static_cast<std::int64_t>(body.size() / unit);
  std::vector<std::int64_t> shape = {free_dims == 1 ? 1 : count};
  for (const std::int64_t dim : spec.shape) shape.push_back(dim < 0 ? count : dim);
  return shape;
}

}  // namespace

bool RowBytes(const TensorSpec& spec, std::size_t free_size, std::size_t& bytes) {
  bytes = DTypeSize(spec.dtype);
  bool empty = false;
  for (const std::int64_t dim : spec.shape) {
    const std::size_t size = dim < 0 ? free_size : static_cast<std::size_t>(dim);
    if (size == 0) {
      empty = true;
    } else {
      if (bytes > (std::size_t{1} << 62) / size) return false;
      bytes *= size;
    }
  }
  if (empty) bytes = 0;
  return true;
}

Result<Sample> ReadBinarySample(Request request, const RequestPart& part,
                                const std::vector<TensorSpec>& specs) {
  if (specs.empty()) {
    return BadInput(
        "binary input needs a declared input: pack the archive with --input name:dtype:[shape], e.g. "
        "--input x:float32:[3,224,224]; or send JSON with Content-Type: application/json");
  }
  if (specs.size() > 1) {
    return BadInput(
        fmt::format("binary input can bring one input, the model declares {}; send JSON", specs.size()));
  }
  const TensorSpec& spec = specs.front();
  const std::string_view body = part.value;
  Result<std::vector<std::int64_t>> shape = ShapeFor(spec, body);
  if (!shape) return shape.error();
  if (spec.dtype == DType::kBool) {
    const auto wrong = std::find_if(body.begin(), body.end(), [](char c) { return c != 0 && c != 1; });
    if (wrong != body.end()) {
      return BadInput(fmt::format("input \"{}\": byte {} is {}; a bool is the byte 0 or 1",
                                  Excerpt(spec.name), wrong - body.begin(),
                                  static_cast<int>(static_cast<unsigned char>(*wrong))));
    }
  }
  Tensor tensor;
  tensor.dtype = spec.dtype;
  tensor.shape = std::move(*shape);
  Buffer memory = request.body_is_part ? std::move(request.body) : Buffer(body);
  tensor.data = std::move(memory).Release();
  Sample sample;
  sample.rows = tensor.shape[0];
  sample.hint.single_row = sample.rows == 1;
  sample.inputs.push_back(std::move(tensor));
  return sample;
}

}  // namespace serve
