#include "handlers/tensor/array_reader.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "handlers/tensor/half.h"

namespace serve {
namespace {

namespace sj = simdjson;

/// How many arrays open in a row: the rank of the array that starts there. Stops past the limit.
int LeadingBrackets(std::string_view text) {
  int count = 0;
  for (const char c : text) {
    if (c == '[') {
      if (++count > kMaxNesting) break;
    } else if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
      break;
    }
  }
  return count;
}

/// -0.5e+3 and the like, as RFC 8259 writes numbers.
bool IsJsonNumber(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&] {
    const std::size_t start = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i > start;
  };
  if (i < text.size() && text[i] == '-') ++i;
  const std::size_t first = i;
  if (!digits() || (text[first] == '0' && i > first + 1)) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

/// A number that is whole though it may be written as 3.0 or 1e3; exact up to 2^53.
bool WholeDouble(double value, std::int64_t& whole) {
  if (!(std::abs(value) <= 0x1p53) || value != std::trunc(value)) return false;
  whole = static_cast<std::int64_t>(value);
  return true;
}

template <class T>
void Store(std::byte*& next, T value) {
  std::memcpy(next, &value, sizeof(T));
  next += sizeof(T);
}

template <class T>
bool StoreInteger(std::byte*& next, std::int64_t value) {
  if (value < std::int64_t{std::numeric_limits<T>::min()} ||
      value > std::int64_t{std::numeric_limits<T>::max()}) {
    return false;
  }
  Store(next, static_cast<T>(value));
  return true;
}

/// False when the number is finite but not in the type.
template <DType kType>
bool StoreFloat(std::byte*& next, double value) {
  if constexpr (kType == DType::kFloat64) {
    Store(next, value);
  } else {
    const auto single = static_cast<float>(value);
    if (std::isinf(single)) return false;
    if constexpr (kType == DType::kFloat32) {
      Store(next, single);
    } else {
      const std::uint16_t bits = kType == DType::kFloat16 ? HalfFromFloat(single) : BFloat16FromFloat(single);
      constexpr std::uint16_t kInfinity = kType == DType::kFloat16 ? 0x7c00u : 0x7f80u;
      if ((bits & 0x7fffu) == kInfinity) return false;
      Store(next, bits);
    }
  }
  return true;
}

std::string_view Token(sj::ondemand::value& value) { return value.raw_json_token(); }
std::string_view Token(sj::ondemand::document& document) {
  std::string_view token;
  return document.raw_json_token().get(token) == sj::SUCCESS ? token : std::string_view();
}

template <class Value>
bool GetDouble(Value& value, double& real) {
  constexpr std::size_t kLongest = 20;  // `0.` and 18 digits
  const std::string_view token = Token(value);
  if (value.get_double().get(real) != sj::SUCCESS) return false;
  // simdjson 3.0 makes another number of `0.` with more digits than fit into 64 bits.
  if (token.size() > kLongest) std::from_chars(token.data(), token.data() + token.size(), real);
  return true;
}

constexpr bool IsFloat(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 ||
         dtype == DType::kBFloat16;
}

/// Calls `body` with the type as a constant.
template <class Body>
auto WithType(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body.template operator()<DType::kFloat32>();
    case DType::kFloat64:
      return body.template operator()<DType::kFloat64>();
    case DType::kFloat16:
      return body.template operator()<DType::kFloat16>();
    case DType::kBFloat16:
      return body.template operator()<DType::kBFloat16>();
    case DType::kInt64:
      return body.template operator()<DType::kInt64>();
    case DType::kInt32:
      return body.template operator()<DType::kInt32>();
    case DType::kInt16:
      return body.template operator()<DType::kInt16>();
    case DType::kInt8:
      return body.template operator()<DType::kInt8>();
    case DType::kUInt8:
      return body.template operator()<DType::kUInt8>();
    case DType::kBool:
      break;
  }
  return body.template operator()<DType::kBool>();
}

}  // namespace

std::string ArrayPlace::Text() const {
  if (instance < 0) return name.empty() ? "body" : Excerpt(name);
  return fmt::format("instances[{}]{}{}", instance, name.empty() ? "" : ".", Excerpt(name));
}

ArrayReader::ArrayReader(const TensorSpec* spec, const JsonSource& source)
    : spec_(spec),
      source_(source),
      dtype_(spec == nullptr ? DType::kFloat32 : spec->dtype),
      element_bytes_(DTypeSize(dtype_)),
      max_elements_(source.text.size() / 2 + 1) {
  if (spec != nullptr) SetRank(static_cast<int>(spec->shape.size()));
}

void ArrayReader::SetRank(int rank) {
  rank_ = rank;
  std::size_t elements = 1;
  if (spec_ == nullptr) {
    dims_.assign(static_cast<std::size_t>(rank), -1);
    elements = rank == 0 ? 1 : 16;
  } else {
    dims_ = spec_->shape;
    for (const std::int64_t dim : dims_) {
      elements *= dim < 0 ? 16 : static_cast<std::size_t>(dim);
      if (elements > max_elements_) break;  // the row cannot be complete: do not allocate for it
    }
  }
  elements = std::min(elements, max_elements_);
  buffer_ = Buffer(elements * element_bytes_);
  next_ = reinterpret_cast<std::byte*>(buffer_.data());
  end_ = next_ + buffer_.size();
}

void ArrayReader::Grow() {
  const auto used = static_cast<std::size_t>(next_ - reinterpret_cast<std::byte*>(buffer_.data()));
  const std::size_t doubled = std::max(2 * used, 16 * element_bytes_);
  // The limit may only stop a doubling, never the growth itself.
  const std::size_t limit = std::max(max_elements_ * element_bytes_, used + element_bytes_);
  Buffer larger(std::min(doubled, limit));
  if (used > 0) std::memcpy(larger.data(), buffer_.data(), used);
  buffer_ = std::move(larger);
  next_ = reinterpret_cast<std::byte*>(buffer_.data()) + used;
  end_ = reinterpret_cast<std::byte*>(buffer_.data()) + buffer_.size();
}

Status ArrayReader::ReadRows(sj::ondemand::document& document) { return ReadEither(document, ArrayPlace{}); }

Status ArrayReader::ReadRows(sj::ondemand::value value, const ArrayPlace& place) {
  return ReadEither(value, place);
}

template <class Value>
Status ArrayReader::ReadEither(Value& value, const ArrayPlace& place) {
  place_ = place;
  const std::size_t start = source_.Offset();
  const int depth = LeadingBrackets(source_.text.substr(start));
  if (depth > kMaxNesting) {
    return BadInput(fmt::format("{}: arrays are nested deeper than {}", place.Text(), kMaxNesting));
  }
  if (rank_ < 0) SetRank(depth);
  sj::ondemand::json_type type = sj::ondemand::json_type::null;
  const bool is_value = value.type().get(type) == sj::SUCCESS;
  const bool is_array = is_value && type == sj::ondemand::json_type::array;
  if (is_array ? depth != rank_ && depth != rank_ + 1 : rank_ > 0) {
    const std::string expected =
        rank_ == 0 ? "a number (one row) or an array of numbers (several rows)"
                   : fmt::format("an array {} deep (one row of shape {}) or {} deep (several rows)", rank_,
                                 ShapeText(dims_), rank_ + 1);
    if (!is_array) return source_.Unexpected(start, place.Text(), expected);
    return BadInput(
        fmt::format("{}: {}: expected {}, found one {} deep", place.Text(), InputText(), expected, depth));
  }
  several_ = depth == rank_ + 1;
  if (!is_array) {
    rows_ = 1;
    return PutOne(value, start);
  }
  sj::ondemand::array array;
  if (const auto error = value.get_array().get(array)) return source_.Broken(error);
  rows_ = 1;
  if (Status status = Walk(array, several_ ? -1 : 0); !status.ok()) return status;
  if (rows_ == 0)
    return BadInput(fmt::format("{}: expected at least one row, found an empty array", place.Text()));
  return {};
}

Status ArrayReader::ReadRow(sj::ondemand::value value, const ArrayPlace& place) {
  place_ = place;
  const std::size_t start = source_.Offset();
  if (rank_ < 0) {
    const int depth = LeadingBrackets(source_.text.substr(start));
    if (depth > kMaxNesting) {
      return BadInput(fmt::format("{}: arrays are nested deeper than {}", place.Text(), kMaxNesting));
    }
    SetRank(depth);
  }
  ++rows_;
  if (rank_ == 0) return PutOne(value, start);
  sj::ondemand::array array;
  if (value.get_array().get(array) != sj::SUCCESS) return source_.Unexpected(start, place.Text(), "an array");
  return Walk(array, 0);
}

Status ArrayReader::Walk(sj::ondemand::array array, int dim) {
  std::int64_t count = 0;
  if (dim + 1 == rank_) {
    if (Status status = WalkNumbers(array, dim, count); !status.ok()) return status;
    return CheckCount(dim, count);
  }
  const std::int64_t limit = CountLimit(dim);
  std::int64_t& index = at_[Level(dim)];
  for (auto element : array) {
    sj::ondemand::value item;
    if (const auto error = std::move(element).get(item)) return source_.Broken(error);
    if (count++ >= limit) continue;  // too many: only counted, for the error
    index = count - 1;
    sj::ondemand::array inner;
    if (item.get_array().get(inner) != sj::SUCCESS) {
      return source_.Unexpected(source_.Offset(), PathText(Level(dim) + 1), "an array");
    }
    if (Status status = Walk(inner, dim + 1); !status.ok()) return status;
  }
  return CheckCount(dim, count);
}

Status ArrayReader::WalkNumbers(sj::ondemand::array& array, int dim, std::int64_t& count) {
  return WithType(dtype_, [&]<DType kType>() { return WalkNumbersAs<kType>(array, dim, count); });
}

template <DType kType>
Status ArrayReader::WalkNumbersAs(sj::ondemand::array& array, int dim, std::int64_t& count) {
  const std::int64_t limit = CountLimit(dim);
  for (auto element : array) {
    sj::ondemand::value item;
    if (const auto error = std::move(element).get(item)) return source_.Broken(error);
    if (count++ >= limit) continue;
    if (next_ == end_) Grow();
    if (!TryPut<kType>(item)) {
      at_[Level(dim)] = count - 1;
      // The reader may stand behind the number already, but the value knows where it began.
      return WrongNumber(static_cast<std::size_t>(item.raw_json_token().data() - source_.text.data()),
                         Level(dim) + 1);
    }
  }
  return {};
}

template <class Value>
Status ArrayReader::PutOne(Value& value, std::size_t start) {
  if (next_ == end_) Grow();
  const bool stored = WithType(dtype_, [&]<DType kType>() { return TryPut<kType>(value); });
  return stored ? Status{} : WrongNumber(start, 0);
}

template <DType kType, class Value>
bool ArrayReader::TryPut(Value& value) {
  double real = 0;
  if constexpr (IsFloat(kType)) {
    return GetDouble(value, real) && StoreFloat<kType>(next_, real);
  }
  std::int64_t whole = 0;
  if constexpr (kType == DType::kBool) {
    sj::ondemand::json_type type = sj::ondemand::json_type::null;
    if (value.type().get(type) != sj::SUCCESS) return false;
    if (type == sj::ondemand::json_type::boolean) {
      bool flag = false;
      if (value.get_bool().get(flag) != sj::SUCCESS) return false;
      Store(next_, static_cast<std::uint8_t>(flag));
      return true;
    }
  }
  if (value.get_int64().get(whole) != sj::SUCCESS) {
    if (!GetDouble(value, real) || !WholeDouble(real, whole)) return false;
  }
  switch (kType) {
    case DType::kInt64:
      Store(next_, whole);
      return true;
    case DType::kInt32:
      return StoreInteger<std::int32_t>(next_, whole);
    case DType::kInt16:
      return StoreInteger<std::int16_t>(next_, whole);
    case DType::kInt8:
      return StoreInteger<std::int8_t>(next_, whole);
    case DType::kUInt8:
      return StoreInteger<std::uint8_t>(next_, whole);
    default:
      if (whole != 0 && whole != 1) return false;
      Store(next_, static_cast<std::uint8_t>(whole));
      return true;
  }
}

std::int64_t ArrayReader::CountLimit(int dim) const {
  const std::int64_t known = dim < 0 ? -1 : dims_[static_cast<std::size_t>(dim)];
  return known < 0 ? std::numeric_limits<std::int64_t>::max() : known;
}

Status ArrayReader::CheckCount(int dim, std::int64_t count) {
  if (dim < 0) {
    rows_ = count;
    return {};
  }
  std::int64_t& known = dims_[static_cast<std::size_t>(dim)];
  if (known < 0) known = count;
  if (known == count) return {};
  const std::string place = PathText(Level(dim));
  if (spec_ == nullptr || spec_->shape[static_cast<std::size_t>(dim)] < 0) {
    return BadInput(fmt::format("{}: ragged array: {} has {} elements, the arrays before it have {}",
                                InputText(), place, count, known));
  }
  std::vector<std::int64_t> got = dims_;
  got[static_cast<std::size_t>(dim)] = count;
  std::string where;
  if (dim > 0) {
    where = " at " + place;
  } else if (several_ || place_.instance >= 0) {
    where = fmt::format(" at row {}", several_ ? at_[0] : place_.instance);
  }
  return BadInput(fmt::format("{}: expected shape {}, got {}{}", InputText(), ShapeText(spec_->shape),
                              ShapeText(got), where));
}

Tensor ArrayReader::Finish() && {
  Tensor tensor;
  tensor.dtype = dtype_;
  tensor.shape.reserve(dims_.size() + 1);
  tensor.shape.push_back(rows_);
  // Dimensions inside an empty one were never seen.
  for (const std::int64_t dim : dims_) tensor.shape.push_back(std::max<std::int64_t>(dim, 0));
  tensor.data = std::move(buffer_).Release();
  return tensor;
}

std::string ArrayReader::PathText(int levels) const {
  std::string text = place_.Text();
  for (int i = 0; i < levels; ++i) text += fmt::format("[{}]", at_[i]);
  return text;
}

std::string ArrayReader::InputText() const {
  return spec_ == nullptr ? "the input" : fmt::format("input \"{}\"", Excerpt(spec_->name));
}

std::string ArrayReader::ExpectedNumber() const {
  if (dtype_ == DType::kBool) return "true, false, 0 or 1";
  return IsFloat(dtype_) ? "a number" : "an integer";
}

Status ArrayReader::WrongNumber(std::size_t start, int levels) const {
  const std::string place = PathText(levels);
  const std::string_view token = source_.TokenAt(start);
  const bool numeric =
      !token.empty() && (token.front() == '-' || (token.front() >= '0' && token.front() <= '9'));
  if (!numeric || (token.size() > 1 && token[1] == 'I'))
    return source_.Unexpected(start, place, ExpectedNumber());
  const std::string shown = Excerpt(token);
  if (!IsJsonNumber(token)) {
    return BadInput(fmt::format("{}: invalid JSON at byte {}: `{}` is no JSON number", place, start, shown));
  }
  double value = 0;
  const auto parsed = std::from_chars(token.data(), token.data() + token.size(), value);
  if (dtype_ == DType::kBool ||
      (!IsFloat(dtype_) && parsed.ec == std::errc{} && value != std::trunc(value))) {
    return BadInput(fmt::format("{}: expected {}, found {}", place, ExpectedNumber(), shown));
  }
  return BadInput(fmt::format("{}: {} is out of range for {}", place, shown, DTypeName(dtype_)));
}

}  // namespace serve
