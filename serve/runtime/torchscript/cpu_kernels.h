#pragma once

#include <cstdint>
#include <vector>

namespace serve {

/// One layer y = x W' + b as the kernels take it.
struct DenseView {
  std::int64_t inputs;
  std::int64_t outputs;
  bool relu;             // behind it; NaN stays NaN
  const float* weights;  // in panels, see PackDense
  const float* bias;     // with zeros up to the end of the last panel
};

/// What a DenseView looks at.
struct DenseLayer {
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  bool relu = false;
  std::vector<float> weights;
  std::vector<float> bias;

  [[nodiscard]] DenseView view() const { return {inputs, outputs, relu, weights.data(), bias.data()}; }
};

// Winograd's F(4x4, 3x3): 4x4 outputs of a 3x3 convolution from 6x6 inputs, with 36 multiplications instead
// of 144. Points 0, 1, -1, 2, -2 and infinity; the matrices are those of Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks" (2015).
inline constexpr std::int64_t kWinogradTile = 4;
inline constexpr std::int64_t kWinogradPatch = 6;
inline constexpr std::int64_t kWinogradPoints = kWinogradPatch * kWinogradPatch;

/// The steps of Winograd's algorithm around the products, for pictures of `Element`: float, or bfloat16 as
/// std::uint16_t. What lies between them is float.
///
/// Channels lie side by side (channels last); their number is a multiple of the kernels' `lanes`.
template <class Element>
struct WinogradSteps {
  /// `pixels` [36]: where the channels of each point of the patch begin, row by row. Point p goes to `to + p
  /// * step`.
  void (*transform_input)(const Element* const* pixels, std::int64_t channels, float* to, std::int64_t step);
  /// `from + p * step`: the sums of point p. `to` [16]: where the channels of each output begin, row by row;
  /// nullptr for one that lies outside. `other` [16] is added, where it is not nullptr.
  void (*transform_output)(const float* from, std::int64_t step, std::int64_t channels, const float* bias,
                           const Element* const* other, Element* const* to, bool relu);
};

/// Inner loops of our own, for one width of vectors: where a general library spends more time on preparing
/// than on computing, or multiplies more often than it must.
///
/// Threads: stateless.
struct CpuKernels {
  std::int64_t lanes;  // floats of one vector
  std::int64_t panel;  // outputs of a layer that are computed side by side

  /// For layers that lie in the L2 cache. `x` [rows, inputs], `y` [rows, outputs], both dense; they do not
  /// overlap. A row's numbers do not depend on the rows that it shares the batch with.
  void (*run_dense)(const DenseView& layer, const float* x, std::int64_t rows, float* y);

  WinogradSteps<float> winograd;
  WinogradSteps<std::uint16_t> winograd_bf16;

  /// Puts exp(x - largest x) in the place of each of `count` numbers and returns their sum. -infinity becomes
  /// 0; when there is nothing else, all are 0 and so is the sum.
  float (*exponentials)(float* numbers, std::int64_t count);
};

/// Those that this CPU can run, the widest first; none on a CPU that is not x86 with AVX2 or AVX-512.
std::vector<const CpuKernels*> CpuKernelsHere();
/// The widest; nullptr when there are none.
const CpuKernels* BestCpuKernels();

/// `weight` [outputs, inputs] as PyTorch keeps it, `bias` [outputs] or nullptr. The panels of the kernel lie
/// one behind the other, in each the columns of one input side by side; the last is only as many vectors
/// wide as it needs.
DenseLayer PackDense(const CpuKernels& kernels, const float* weight, const float* bias, std::int64_t inputs,
                     std::int64_t outputs, bool relu);

/// Point `point` of the weights [outputs, inputs, 3, 3] of a convolution as a layer without a bias.
DenseLayer PackWinograd(const CpuKernels& kernels, const float* weight, std::int64_t inputs,
                        std::int64_t outputs, std::int64_t point);

}  // namespace serve
