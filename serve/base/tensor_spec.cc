#include "serve/base/tensor_spec.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace serve {
namespace {

struct DTypeRow {
  std::string_view name;
  std::size_t size;
};
// In the order of DType.
constexpr std::array kDTypes = {
    DTypeRow{"float32", 4}, DTypeRow{"float64", 8}, DTypeRow{"float16", 2}, DTypeRow{"bfloat16", 2},
    DTypeRow{"int64", 8},   DTypeRow{"int32", 4},   DTypeRow{"int16", 2},   DTypeRow{"int8", 1},
    DTypeRow{"uint8", 1},   DTypeRow{"bool", 1},
};
static_assert(kDTypes.size() == static_cast<std::size_t>(DType::kBool) + 1, "one row per type");

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Status SpecError(std::string_view text, std::string_view wrong) {
  return InvalidArgument(fmt::format(
      "'{}' is not a tensor declaration: {}. Write name:dtype:[shape without the batch dimension], "
      "e.g. ids:int64:[-1] or image:float32:[3,224,224]",
      text, wrong));
}

}  // namespace

std::string_view DTypeName(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].name; }

std::optional<DType> ParseDType(std::string_view name) {
  for (std::size_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::size_t DTypeSize(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].size; }

Result<TensorSpec> ParseTensorSpec(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return SpecError(text, "it needs three parts with ':' between them");

  TensorSpec spec;
  spec.name = Trim(text.substr(0, first));
  if (spec.name.empty()) return SpecError(text, "the name is empty");

  const std::string_view dtype_text = Trim(text.substr(first + 1, second - first - 1));
  const std::optional<DType> dtype = ParseDType(dtype_text);
  if (!dtype) {
    std::vector<std::string_view> known;
    for (const DTypeRow& row : kDTypes) known.push_back(row.name);
    return SpecError(text, fmt::format("'{}' is no dtype (known: {})", dtype_text, fmt::join(known, ", ")));
  }
  spec.dtype = *dtype;

  std::string_view shape = Trim(text.substr(second + 1));
  const bool opened = !shape.empty() && shape.front() == '[';
  const bool closed = !shape.empty() && shape.back() == ']';
  if (opened != closed || shape == "[" || shape == "]") {
    return SpecError(text, fmt::format("a bracket of the shape '{}' is missing", shape));
  }
  if (opened) shape = Trim(shape.substr(1, shape.size() - 2));
  if (shape.empty()) {
    if (opened) return spec;  // []: one number a row
    return SpecError(text, "the shape is empty; a single number a row is []");
  }

  std::int64_t elements = 1;
  for (std::size_t start = 0; start <= shape.size();) {
    const std::size_t comma = std::min(shape.find(',', start), shape.size());
    const std::string_view item = Trim(shape.substr(start, comma - start));
    std::int64_t size = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), size);
    if (error != std::errc() || end != item.data() + item.size() || size == 0 || size < -1) {
      return SpecError(text, fmt::format("'{}' is no size (a positive number, or -1 for any)", item));
    }
    if (size > 0 && __builtin_mul_overflow(elements, size, &elements)) elements = kMaxRowElements + 1;
    if (elements > kMaxRowElements) {
      return SpecError(text, fmt::format("one row would have more than {} elements", kMaxRowElements));
    }
    spec.shape.push_back(size);
    start = comma + 1;
  }
  if (spec.shape.size() > kMaxRank) {
    return SpecError(text, fmt::format("{} dimensions; at most {} are allowed", spec.shape.size(), kMaxRank));
  }
  return spec;
}

Result<BatchRange> ParseBatchRange(std::string_view text) {
  const auto number = [](std::string_view digits, std::int64_t& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  const std::size_t dots = text.find("..");
  BatchRange range;
  const bool read = dots == std::string_view::npos
                        ? number(text, range.min) && number(text, range.max)
                        : number(text.substr(0, dots), range.min) && number(text.substr(dots + 2), range.max);
  if (read && range.min >= 1 && range.min <= range.max && range.max <= kMaxBatchRows) return range;
  return InvalidArgument(
      fmt::format("'{}' is no range of batch sizes. Write the smallest and the largest number of rows, e.g. "
                  "1..64, or one number for a model that takes no other; allowed: 1 to {}",
                  text, kMaxBatchRows));
}

std::string BatchText(const BatchRange& range) {
  return range.min == range.max ? fmt::format("{}", range.max) : fmt::format("{}..{}", range.min, range.max);
}

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string SpecText(const TensorSpec& spec) {
  return fmt::format("{}:{}:{}", spec.name, DTypeName(spec.dtype), ShapeText(spec.shape));
}

}  // namespace serve
