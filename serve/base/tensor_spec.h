#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

enum class DType : std::uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt64,
  kInt32,
  kInt16,
  kInt8,
  kUInt8,
  kBool,
};

/// "float32", "int64", … as archives and requests spell them.
std::string_view DTypeName(DType dtype);
std::optional<DType> ParseDType(std::string_view name);
/// Bytes of one element.
std::size_t DTypeSize(DType dtype);

/// What a model declares of one input or output.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;  // without the batch dimension; -1: any size

  bool operator==(const TensorSpec&) const = default;
};

/// Rows that a model takes in one call; nothing declared: {0, 0}.
struct BatchRange {
  std::int64_t min = 0;
  std::int64_t max = 0;

  [[nodiscard]] bool declared() const { return max > 0; }
  bool operator==(const BatchRange&) const = default;
};

inline constexpr std::int64_t kMaxBatchRows = 100'000;                  // that a BatchRange may allow
inline constexpr std::size_t kMaxRank = 16;                             // without the batch dimension
inline constexpr std::int64_t kMaxRowElements = std::int64_t{1} << 32;  // of the sizes that are declared

/// Reads `name:dtype:[3,-1]` (brackets optional, `[]` is a scalar per row); the error says what is wrong.
Result<TensorSpec> ParseTensorSpec(std::string_view text);
/// Reads `1..64`, or `8` for a model that takes no other number; the error says what is wrong.
Result<BatchRange> ParseBatchRange(std::string_view text);
/// `1..64` or `8`.
std::string BatchText(const BatchRange& range);
/// `[3, 224, 224]`.
std::string ShapeText(const std::vector<std::int64_t>& shape);
/// `x:float32:[3, -1]`.
std::string SpecText(const TensorSpec& spec);

}  // namespace serve
