#include "handlers/tensor/json_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "handlers/tensor/half.h"

namespace serve {
namespace {

template <class T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));  // a view of rows need not be aligned
  return value;
}

template <class T>
char* PutInteger(char* to, const std::byte* at) {
  return std::to_chars(to, to + 24, Load<T>(at)).ptr;
}

template <class T>
char* PutFloat(char* to, T value) {
  if (!std::isfinite(value)) return std::copy_n("null", 4, to);
  char* const end = std::to_chars(to, to + 32, value).ptr;
  // Readers of typed languages take 1 for an integer.
  const bool whole = std::all_of(to, end, [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
  return whole ? std::copy_n(".0", 2, end) : end;
}

/// Room for one number of any type.
constexpr std::size_t kNumberRoom = 40;

char* PutNumber(char* to, DType dtype, const std::byte* at) {
  switch (dtype) {
    case DType::kFloat32:
      return PutFloat(to, Load<float>(at));
    case DType::kFloat64:
      return PutFloat(to, Load<double>(at));
    case DType::kFloat16:
      return PutFloat(to, FloatFromHalf(Load<std::uint16_t>(at)));
    case DType::kBFloat16:
      return PutFloat(to, FloatFromBFloat16(Load<std::uint16_t>(at)));
    case DType::kInt64:
      return PutInteger<std::int64_t>(to, at);
    case DType::kInt32:
      return PutInteger<std::int32_t>(to, at);
    case DType::kInt16:
      return PutInteger<std::int16_t>(to, at);
    case DType::kInt8:
      return PutInteger<std::int8_t>(to, at);
    case DType::kUInt8:
      return PutInteger<std::uint8_t>(to, at);
    case DType::kBool:
      break;
  }
  return Load<std::uint8_t>(at) != 0 ? std::copy_n("true", 4, to) : std::copy_n("false", 5, to);
}

/// The innermost dimension: the hot loop.
void AppendNumbers(std::string& text, const Tensor& tensor, const std::byte* at, std::int64_t count) {
  const std::size_t size = DTypeSize(tensor.dtype);
  char number[kNumberRoom];
  for (std::int64_t i = 0; i < count; ++i, at += size) {
    if (i > 0) text += ',';
    text.append(number, PutNumber(number, tensor.dtype, at));
  }
}

/// Dimensions `dim` and further of the part of `tensor` that starts at `at`; moves `at` behind it.
void AppendArray(std::string& text, const Tensor& tensor, std::size_t dim, const std::byte*& at) {
  const std::size_t size = DTypeSize(tensor.dtype);
  if (dim == tensor.shape.size()) {
    AppendNumbers(text, tensor, at, 1);
    at += size;
    return;
  }
  text += '[';
  if (dim + 1 == tensor.shape.size()) {
    AppendNumbers(text, tensor, at, tensor.shape[dim]);
    at += size * static_cast<std::size_t>(tensor.shape[dim]);
  } else {
    for (std::int64_t i = 0; i < tensor.shape[dim]; ++i) {
      if (i > 0) text += ',';
      AppendArray(text, tensor, dim + 1, at);
    }
  }
  text += ']';
}

void AppendName(std::string& text, std::string_view name) {
  text += '"';
  for (const char c : name) {
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      text += c;
    }
  }
  text += '"';
}

/// One tensor, or all of an output as an object (named) or a list; `append` writes the tensor of that index.
template <class Append>
void AppendOutputs(std::string& text, const Output& output, Append append) {
  const std::size_t count = output.tensors.size();
  if (count == 1) return append(0);
  const bool named = !output.names.empty() && output.names.size() >= count;
  text += named ? '{' : '[';
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    if (named) {
      AppendName(text, output.names[i]);
      text += ':';
    }
    append(i);
  }
  text += named ? '}' : ']';
}

std::size_t ExpectedSize(const Output& output) {
  std::size_t size = 32;
  for (const Tensor& tensor : output.tensors) {
    const bool is_double = tensor.dtype == DType::kFloat64;
    size += static_cast<std::size_t>(tensor.elements()) * (is_double ? 20 : 12) + 16;
  }
  return size;
}

}  // namespace

Result<std::string> WriteJson(const Output& output, const RenderHint& hint) {
  const std::int64_t rows = output.tensors.empty() ? 0 : output.tensors.front().rows();
  for (std::size_t i = 0; i < output.tensors.size(); ++i) {
    const Tensor& tensor = output.tensors[i];
    if (tensor.shape.empty() || tensor.shape[0] != rows || (hint.single_row && rows != 1)) {
      return Status{Code::kPredictionFailed,
                    fmt::format("output {} has shape {}, expected {} rows in dimension 0", i,
                                ShapeText(tensor.shape), hint.single_row ? 1 : rows)};
    }
  }
  std::string text;
  text.reserve(ExpectedSize(output));
  const auto append_rows = [&](std::size_t i) {
    const std::byte* at = output.tensors[i].data.get();
    AppendArray(text, output.tensors[i], hint.single_row ? 1 : 0, at);
  };
  if (!hint.instances) {
    AppendOutputs(text, output, append_rows);
    return text;
  }
  text += "{\"predictions\":";
  if (output.tensors.size() == 1) {
    append_rows(0);
  } else {
    // One object or list a row, as clients of {"instances"} expect: walk all outputs side by side.
    std::vector<const std::byte*> at;
    for (const Tensor& tensor : output.tensors) at.push_back(tensor.data.get());
    text += '[';
    for (std::int64_t row = 0; row < rows; ++row) {
      if (row > 0) text += ',';
      AppendOutputs(text, output, [&](std::size_t i) { AppendArray(text, output.tensors[i], 1, at[i]); });
    }
    text += ']';
  }
  text += '}';
  return text;
}

void AppendFlat(std::string& text, const Tensor& tensor) {
  text.reserve(text.size() + ExpectedSize(Output{{tensor}, {}}));
  AppendNumbers(text, tensor, tensor.data.get(), tensor.elements());
}

void AppendQuoted(std::string& text, std::string_view value) { AppendName(text, value); }

Result<Response> RenderJson(const Output& output, const RenderHint& hint) try {
  Result<std::string> body = WriteJson(output, hint);
  if (!body) return body.error();
  return Response{std::move(*body)};
} catch (const std::bad_alloc&) {
  return Status{Code::kResourceExhausted, "not enough memory for the answer"};
}

}  // namespace serve
