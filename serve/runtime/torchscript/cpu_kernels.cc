#include "serve/runtime/torchscript/cpu_kernels.h"

#include <algorithm>
#include <array>

namespace serve {

#if defined(__x86_64__)
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
#endif

std::vector<const CpuKernels*> CpuKernelsHere() {
  std::vector<const CpuKernels*> here;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) here.push_back(&kAvx512Kernels);
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0)
    here.push_back(&kAvx2Kernels);
#endif
  return here;
}

const CpuKernels* BestCpuKernels() {
  static const std::vector<const CpuKernels*> here = CpuKernelsHere();
  return here.empty() ? nullptr : here.front();
}

DenseLayer PackDense(const CpuKernels& kernels, const float* weight, const float* bias, std::int64_t inputs,
                     std::int64_t outputs, bool relu) {
  const std::int64_t padded = (outputs + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
  DenseLayer layer{.inputs = inputs, .outputs = outputs, .relu = relu, .weights = {}, .bias = {}};
  layer.weights.resize(static_cast<std::size_t>(padded * inputs));
  layer.bias.resize(static_cast<std::size_t>(padded));
  if (bias != nullptr) std::copy_n(bias, outputs, layer.bias.begin());
  for (std::int64_t first = 0; first < outputs; first += kernels.panel) {
    const std::int64_t width = std::min(kernels.panel, padded - first);
    float* panel = layer.weights.data() + first * inputs;
    for (std::int64_t column = 0; column < std::min(width, outputs - first); ++column) {
      for (std::int64_t k = 0; k < inputs; ++k)
        panel[k * width + column] = weight[(first + column) * inputs + k];
    }
  }
  return layer;
}

DenseLayer PackWinograd(const CpuKernels& kernels, const float* weight, std::int64_t inputs,
                        std::int64_t outputs, std::int64_t point) {
  // U = G g G'
  constexpr std::array<std::array<double, 3>, kWinogradPatch> kG = {{{1.0 / 4, 0, 0},
                                                                     {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                                                     {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                                                     {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                                                     {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                                                     {0, 0, 1}}};
  const auto& across = kG[static_cast<std::size_t>(point / kWinogradPatch)];
  const auto& along = kG[static_cast<std::size_t>(point % kWinogradPatch)];
  std::vector<float> matrix(static_cast<std::size_t>(outputs * inputs));
  for (std::size_t i = 0; i < matrix.size(); ++i) {
    double sum = 0;
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t column = 0; column < 3; ++column)
        sum += across[row] * along[column] * weight[i * 9 + row * 3 + column];
    }
    matrix[i] = static_cast<float>(sum);
  }
  return PackDense(kernels, matrix.data(), nullptr, inputs, outputs, false);
}

}  // namespace serve
