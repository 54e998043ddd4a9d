// The kernels of cpu_kernels.h for one width of vectors. Included by a file that is compiled for the CPUs
// that have them; everything here is in an unnamed namespace and calls no inline function of a library, for
// the linker could give another file the version that was compiled here.
//
// Wants: kLanes, floats of a vector; kWide, vectors of a panel.
#include <cstdint>

#include "serve/runtime/torchscript/cpu_kernels.h"

namespace serve {
namespace {

using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));
using AnyVector = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

constexpr int kMostRows = 6;  // times kWide accumulators fit into the registers
constexpr int kFewRows = 2;   // so few that one panel does not keep the multipliers busy

struct Task {
  const float* x;
  const float* weights;  // of the first panel
  const float* bias;
  float* y;
  std::int64_t inputs;
  std::int64_t row_of_y;  // from one row to the next
  std::int64_t columns;   // of the output that exist
  bool relu;
};

/// kRows rows times kPanels panels that are kVectors wide.
template <int kRows, int kPanels, int kVectors>
void Tile(const Task& task) {
  constexpr int kAll = kPanels * kVectors;
  constexpr std::int64_t kWidth = std::int64_t{kVectors} * kLanes;
  Vector sums[kRows][kAll];
  for (int v = 0; v < kAll; ++v) {
    const Vector bias = *reinterpret_cast<const AnyVector*>(task.bias + v * kLanes);
    for (int row = 0; row < kRows; ++row) sums[row][v] = bias;
  }
  const float* panels[kPanels];
  for (int p = 0; p < kPanels; ++p) panels[p] = task.weights + p * kWidth * task.inputs;
  for (std::int64_t k = 0; k < task.inputs; ++k) {
    Vector weights[kAll];
    for (int v = 0; v < kAll; ++v) {
      const float* from = panels[v / kVectors] + k * kWidth + (v % kVectors) * kLanes;
      weights[v] = *reinterpret_cast<const AnyVector*>(from);
    }
    for (int row = 0; row < kRows; ++row) {
      const float x = task.x[row * task.inputs + k];
      for (int v = 0; v < kAll; ++v) sums[row][v] += x * weights[v];
    }
  }
  for (int row = 0; row < kRows; ++row) {
    for (int v = 0; v < kAll; ++v) {
      if (task.relu) sums[row][v] = sums[row][v] < 0.0F ? Vector{} : sums[row][v];
      float* to = task.y + row * task.row_of_y + v * kLanes;
      const std::int64_t left = task.columns - v * kLanes;
      if (left >= kLanes) {
        *reinterpret_cast<AnyVector*>(to) = sums[row][v];
      } else {
        for (std::int64_t i = 0; i < left; ++i) to[i] = sums[row][v][i];
      }
    }
  }
}

template <int kPanels, int kVectors>
void Rows(const Task& task, std::int64_t rows) {
  switch (rows) {
    case 1:
      return Tile<1, kPanels, kVectors>(task);
    case 2:
      return Tile<2, kPanels, kVectors>(task);
    default:
      break;
  }
  if constexpr (kPanels == 1) {
    switch (rows) {
      case 3:
        return Tile<3, 1, kVectors>(task);
      case 4:
        return Tile<4, 1, kVectors>(task);
      case 5:
        return Tile<5, 1, kVectors>(task);
      default:
        return Tile<6, 1, kVectors>(task);
    }
  }
}

void LastPanel(const Task& task, std::int64_t rows, std::int64_t vectors) {
  switch (vectors) {
    case 1:
      return Rows<1, 1>(task, rows);
    case 2:
      return Rows<1, 2>(task, rows);
    case 3:
      return Rows<1, 3>(task, rows);
    default:
      return Rows<1, kWide>(task, rows);
  }
}

void RunDense(const DenseView& layer, const float* x, std::int64_t rows, float* y) {
  constexpr std::int64_t kPanel = std::int64_t{kWide} * kLanes;
  const std::int64_t blocks = (rows + kMostRows - 1) / kMostRows;
  std::int64_t column = 0;
  while (column < layer.outputs) {
    const std::int64_t left = layer.outputs - column;
    const std::int64_t most = (rows + blocks - 1) / blocks;  // of one block; the others have one less
    const std::int64_t panels = most <= kFewRows && left >= 2 * kPanel ? 2 : 1;
    std::int64_t row = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t count = (rows - row) / (blocks - block);
      const Task task{.x = x + row * layer.inputs,
                      .weights = layer.weights + column * layer.inputs,
                      .bias = layer.bias + column,
                      .y = y + row * layer.outputs + column,
                      .inputs = layer.inputs,
                      .row_of_y = layer.outputs,
                      .columns = left,
                      .relu = layer.relu};
      if (left < kPanel) {
        LastPanel(task, count, (left + kLanes - 1) / kLanes);
      } else if (panels == 2) {
        Rows<2, kWide>(task, count);
      } else {
        Rows<1, kWide>(task, count);
      }
      row += count;
    }
    column += panels * kPanel;
  }
}

// --- Winograd
// --------------------------------------------------------------------------------------------------

using IntVector = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
using BitVector = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
using HalfVector = std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t))));
using AnyHalfVector =
    std::uint16_t __attribute__((vector_size(kLanes * sizeof(std::uint16_t)), aligned(2), may_alias));

inline Vector Load(const float* from) { return *reinterpret_cast<const AnyVector*>(from); }
inline void Store(float* to, Vector value) { *reinterpret_cast<AnyVector*>(to) = value; }

/// bfloat16 is the upper half of a float.
inline Vector Load(const std::uint16_t* from) {
  const HalfVector half = *reinterpret_cast<const AnyHalfVector*>(from);
  return reinterpret_cast<Vector>(__builtin_convertvector(half, BitVector) << 16);
}

/// Rounds to the nearest, to even between two.
inline void Store(std::uint16_t* to, Vector value) {
  const auto bits = reinterpret_cast<BitVector>(value);
  const BitVector rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const BitVector kept = value == value ? rounded : (bits >> 16) | 0x40;  // NaN stays NaN
  *reinterpret_cast<AnyHalfVector*>(to) = __builtin_convertvector(kept, HalfVector);
}

/// One row or column of B'd.
inline void TransformSix(const Vector (&d)[6], Vector (&t)[6]) {
  const Vector even = d[4] - 4.0F * d[2];
  const Vector odd = d[3] - 4.0F * d[1];
  const Vector twice = 2.0F * (d[3] - d[1]);
  const Vector difference = d[4] - d[2];
  t[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
  t[1] = even + odd;
  t[2] = even - odd;
  t[3] = difference + twice;
  t[4] = difference - twice;
  t[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
}

/// One row or column of A'm.
inline void TransformFour(const Vector (&m)[6], Vector (&o)[4]) {
  const Vector plus = m[1] + m[2];
  const Vector minus = m[1] - m[2];
  const Vector plus_two = m[3] + m[4];
  const Vector minus_two = m[3] - m[4];
  o[0] = m[0] + plus + plus_two;
  o[1] = minus + 2.0F * minus_two;
  o[2] = plus + 4.0F * plus_two;
  o[3] = minus + 8.0F * minus_two + m[5];
}

template <class Element>
void TransformInput(const Element* const* pixels, std::int64_t channels, float* to, std::int64_t step) {
  for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
    Vector half[6][6];  // columns are done
    for (int column = 0; column < 6; ++column) {
      Vector d[6];
      Vector t[6];
      for (int row = 0; row < 6; ++row) d[row] = Load(pixels[row * 6 + column] + channel);
      TransformSix(d, t);
      for (int row = 0; row < 6; ++row) half[row][column] = t[row];
    }
    for (int row = 0; row < 6; ++row) {
      Vector t[6];
      TransformSix(half[row], t);
      for (int column = 0; column < 6; ++column) Store(to + (row * 6 + column) * step + channel, t[column]);
    }
  }
}

template <class Element>
void TransformOutput(const float* from, std::int64_t step, std::int64_t channels, const float* bias,
                     const Element* const* other, Element* const* to, bool relu) {
  for (std::int64_t channel = 0; channel < channels; channel += kLanes) {
    Vector half[4][6];
    for (int column = 0; column < 6; ++column) {
      Vector m[6];
      Vector o[4];
      for (int row = 0; row < 6; ++row) m[row] = Load(from + (row * 6 + column) * step + channel);
      TransformFour(m, o);
      for (int row = 0; row < 4; ++row) half[row][column] = o[row];
    }
    const Vector offset = Load(bias + channel);
    for (int row = 0; row < 4; ++row) {
      Vector o[4];
      TransformFour(half[row], o);
      for (int column = 0; column < 4; ++column) {
        const int place = row * 4 + column;
        if (to[place] == nullptr) continue;
        Vector value = o[column] + offset;
        if (other[place] != nullptr) value += Load(other[place] + channel);
        if (relu) value = value < 0.0F ? Vector{} : value;
        Store(to[place] + channel, value);
      }
    }
  }
}

// --- softmax
// --------------------------------------------------------------------------------------------------

/// exp(x) for x <= 0, to about two units in the last place: 2^n exp(r) with |r| <= ln(2) / 2.
inline Vector Exp(Vector x) {
  constexpr float kSmallest = -87.0F;      // what is below is 0, -infinity too
  constexpr float kRound = 12'582'912.0F;  // 1.5 * 2^23: adding it leaves the nearest whole number at the end
  constexpr std::int32_t kBias = 127;
  const Vector limited = x < kSmallest ? Vector{} + kSmallest : x;
  const Vector shifted = limited * 1.44269504F + kRound;
  const Vector n = shifted - kRound;
  const Vector r = limited - n * 0.693359375F + n * 2.12194440e-4F;  // ln(2) in two parts
  Vector sum = r * 1.38888889e-3F + 8.33333333e-3F;
  sum = sum * r + 4.16666667e-2F;
  sum = sum * r + 1.66666667e-1F;
  sum = sum * r + 0.5F;
  sum = sum * r * r + r + 1.0F;
  const IntVector whole =
      reinterpret_cast<IntVector>(shifted) - reinterpret_cast<IntVector>(Vector{} + kRound);
  const Vector power = reinterpret_cast<Vector>((whole + kBias) << 23);
  return x < kSmallest ? Vector{} : sum * power;
}

/// The last numbers of a row, fewer than a vector; -infinity behind them.
inline Vector LoadLast(const float* from, std::int64_t count) {
  Vector value = Vector{} - __builtin_inff();
  for (std::int64_t i = 0; i < count; ++i) value[i] = from[i];
  return value;
}

float Exponentials(float* numbers, std::int64_t count) {
  const std::int64_t whole = count / kLanes * kLanes;
  Vector most = LoadLast(numbers + whole, count - whole);
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const Vector value = Load(numbers + i);
    most = value > most ? value : most;
  }
  float largest = most[0];
  for (int i = 1; i < kLanes; ++i) largest = most[i] > largest ? most[i] : largest;
  if (largest == -__builtin_inff()) largest = 0;  // nothing is left of them
  Vector sums{};
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    const Vector value = Exp(Load(numbers + i) - largest);
    Store(numbers + i, value);
    sums += value;
  }
  if (whole < count) {
    const Vector value = Exp(LoadLast(numbers + whole, count - whole) - largest);
    for (std::int64_t i = whole; i < count; ++i) numbers[i] = value[i - whole];
    sums += value;
  }
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += sums[i];
  return sum;
}

}  // namespace
}  // namespace serve
