#include "handlers/tensor/plain_numbers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "serve/base/buffer.h"

namespace serve {
namespace {

/// Powers of ten that a double holds exactly.
constexpr auto kPowers = [] {
  std::array<double, 23> powers{};
  double power = 1;
  for (double& entry : powers) {
    entry = power;
    power *= 10;
  }
  return powers;
}();
constexpr int kMostPower = static_cast<int>(kPowers.size()) - 1;
constexpr std::uint64_t kExactWhole = std::uint64_t{1} << 53;  // every whole number below is a double
constexpr std::ptrdiff_t kMostDigits = 19;                     // so many never overflow 64 bits
constexpr std::uint64_t kFarPower = std::uint64_t{1} << 40;    // of an exponent that is read elsewhere

bool IsDigit(char c) { return static_cast<unsigned char>(c - '0') <= 9; }

class Scanner {
 public:
  Scanner(std::string_view text, const std::vector<std::int64_t>& shape)
      : at_(text.data()), end_(at_ + text.size()), shape_(shape) {}

  /// Goes behind `c` and the blanks before it.
  bool Take(char c) {
    if (*at_ != c) SkipBlanks();
    if (*at_ != c) return false;
    ++at_;
    return true;
  }

  [[nodiscard]] bool AtEnd() {
    SkipBlanks();
    return at_ == end_;
  }

  /// What the dimensions from `dim` on hold.
  bool Array(std::size_t dim, float*& next) {
    if (!Take('[')) return false;
    const bool inner = dim + 1 == shape_.size();
    for (std::int64_t i = 0; i < shape_[dim]; ++i) {
      if (i > 0 && !Take(',')) return false;
      if (!(inner ? Number(*next++) : Array(dim + 1, next))) return false;
    }
    return Take(']');
  }

 private:
  void SkipBlanks() {
    while (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t') ++at_;
  }

  /// Appends the digits from `at` on to `whole`, which may wrap after kMostDigits; what follows them.
  static const char* Digits(const char* at, std::uint64_t& whole) {
    std::uint64_t sum = whole;
    for (; IsDigit(*at); ++at) sum = sum * 10 + static_cast<std::uint64_t>(*at - '0');
    whole = sum;
    return at;
  }

  bool Number(float& number) {
    if (*at_ == ' ') SkipBlanks();
    const char* const start = at_;  // and none of the members below, which a char may alias
    const char* const first = start + (*start == '-' ? 1 : 0);
    std::uint64_t whole = 0;
    const char* at = Digits(first, whole);
    std::ptrdiff_t digits = at - first;
    if (digits == 0 || (*first == '0' && digits > 1)) return false;
    std::ptrdiff_t power = 0;
    if (*at == '.') {
      const char* const fraction = at + 1;
      at = Digits(fraction, whole);
      power = fraction - at;
      if (power == 0) return false;
      digits -= power;
    }
    if (*at == 'e' || *at == 'E') {
      ++at;
      const bool down = *at == '-';
      if (down || *at == '+') ++at;
      std::uint64_t exponent = 0;
      const char* const end = Digits(at, exponent);
      if (end == at) return false;
      exponent = end - at > 3 ? kFarPower : exponent;
      power += down ? -static_cast<std::ptrdiff_t>(exponent) : static_cast<std::ptrdiff_t>(exponent);
      at = end;
    }
    at_ = at;
    if (digits > kMostDigits || whole >= kExactWhole || power < -kMostPower || power > kMostPower) {
      return Slow(start, number);
    }
    // Both operands are exact, so the one rounding is the right one (Clinger 1990).
    const auto exact = static_cast<double>(whole);
    const double value = power < 0 ? exact / kPowers[static_cast<std::size_t>(-power)]
                                   : exact * kPowers[static_cast<std::size_t>(power)];
    return Narrow(first != start ? -value : value, number);
  }

  /// From `start` to here.
  bool Slow(const char* start, float& number) const {
    double value = 0;
    const auto [end, error] = std::from_chars(start, at_, value);
    return error == std::errc{} && end == at_ && Narrow(value, number);
  }

  static bool Narrow(double value, float& number) {
    number = static_cast<float>(value);
    return !std::isinf(number);
  }

  const char* at_;
  const char* const end_;
  const std::vector<std::int64_t>& shape_;
};

}  // namespace

std::optional<Sample> ReadPlainNumbers(std::string_view text, const TensorSpec& spec) {
  if (spec.dtype != DType::kFloat32 || spec.shape.empty()) return std::nullopt;
  const std::size_t most = text.size() / 2;  // a number and what follows it
  std::size_t row = 1;
  for (const std::int64_t dim : spec.shape) {
    if (dim <= 0 || static_cast<std::size_t>(dim) > most / row) return std::nullopt;
    row *= static_cast<std::size_t>(dim);
  }

  Scanner scanner(text, spec.shape);
  Scanner ahead = scanner;
  std::size_t depth = 0;
  while (depth <= spec.shape.size() && ahead.Take('[')) ++depth;
  const bool several = depth == spec.shape.size() + 1;
  Buffer numbers(row * sizeof(float));
  std::size_t rows = 0;
  if (several) scanner.Take('[');
  for (;;) {
    if ((rows + 1) * row * sizeof(float) > numbers.size()) {
      Buffer larger(std::min(2 * rows, most / row + 1) * row * sizeof(float));
      std::memcpy(larger.data(), numbers.data(), numbers.size());
      numbers = std::move(larger);
    }
    float* next = reinterpret_cast<float*>(numbers.data()) + rows * row;
    if (!scanner.Array(0, next)) return std::nullopt;
    ++rows;
    if (!several) break;
    if (scanner.Take(',')) continue;
    if (!scanner.Take(']')) return std::nullopt;
    break;
  }
  if (!scanner.AtEnd()) return std::nullopt;

  Tensor tensor;
  tensor.shape.reserve(spec.shape.size() + 1);
  tensor.shape.push_back(static_cast<std::int64_t>(rows));
  tensor.shape.insert(tensor.shape.end(), spec.shape.begin(), spec.shape.end());
  tensor.data = std::move(numbers).Release();
  Sample sample;
  sample.rows = static_cast<std::int64_t>(rows);
  sample.hint.single_row = !several;
  sample.inputs.push_back(std::move(tensor));
  return sample;
}

}  // namespace serve
