// Compiled for CPUs with AVX-512 (CMakeLists.txt); runs only where cpu_kernels.cc finds it.
namespace {
constexpr int kLanes = 16;
constexpr int kWide = 4;
}  // namespace

#include "serve/runtime/torchscript/cpu_kernels.inl"

namespace serve {
extern const CpuKernels kAvx512Kernels;
const CpuKernels kAvx512Kernels{kLanes,
                                std::int64_t{kLanes} * kWide,
                                RunDense,
                                {TransformInput<float>, TransformOutput<float>},
                                {TransformInput<std::uint16_t>, TransformOutput<std::uint16_t>},
                                Exponentials};
}  // namespace serve
