#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/base/tensor_spec.h"
#include "serve/request/sequence.h"
#include "serve/request/tensor.h"

namespace serve {

/// An element type of the open inference protocol (KServe v2); nullopt is BYTES, which holds texts.
using Datatype = std::optional<DType>;

/// The protocol's names; UINT16, UINT32 and UINT64 have no tensor type here and are unknown.
inline constexpr std::array<std::pair<std::string_view, Datatype>, 11> kDatatypes = {{
    {"FP32", DType::kFloat32},
    {"FP64", DType::kFloat64},
    {"FP16", DType::kFloat16},
    {"BF16", DType::kBFloat16},
    {"INT64", DType::kInt64},
    {"INT32", DType::kInt32},
    {"INT16", DType::kInt16},
    {"INT8", DType::kInt8},
    {"UINT8", DType::kUInt8},
    {"BOOL", DType::kBool},
    {"BYTES", std::nullopt},
}};

constexpr std::string_view DatatypeName(Datatype datatype) {
  for (const auto& [name, known] : kDatatypes) {
    if (known == datatype) return name;
  }
  return "";
}

/// False: no such type is served.
constexpr bool ParseDatatype(std::string_view name, Datatype& datatype) {
  for (const auto& [known, value] : kDatatypes) {
    if (known != name) continue;
    datatype = value;
    return true;
  }
  return false;
}

/// What a client may send or gets, as the protocol's metadata tell it. The shape has the batch dimension; -1:
/// any size.
struct InferSpec {
  std::string name;
  Datatype datatype = DType::kFloat32;
  std::vector<std::int64_t> shape;
};

/// One tensor of a protocol request or answer. Its first dimension is the batch.
struct InferTensor {
  std::string name;
  Datatype datatype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  Tensor numbers;                  // of this shape; unused for BYTES
  std::vector<std::string> texts;  // BYTES, row by row
};

/// One output that a request asks for.
struct InferOutputAsk {
  std::string name;
  std::optional<bool> binary{};  // as raw bytes; nullopt: as the request says for all
};

/// What a request says about its answer.
struct InferAsk {
  std::string id;                       // echoed; empty: the client gave none
  std::vector<InferOutputAsk> outputs;  // in this order; empty: all
  bool binary = false;                  // outputs come as raw bytes behind the JSON
};

/// A request of the protocol, whatever it travelled in.
struct InferRequest {
  std::vector<InferTensor> inputs;
  InferAsk ask;
  std::optional<SequenceAsk> sequence;
};

}  // namespace serve
