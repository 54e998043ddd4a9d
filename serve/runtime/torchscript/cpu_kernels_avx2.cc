// Compiled for CPUs with AVX2 and FMA (CMakeLists.txt); runs only where cpu_kernels.cc finds them.
namespace {
constexpr int kLanes = 8;
constexpr int kWide = 2;
}  // namespace

#include "serve/runtime/torchscript/cpu_kernels.inl"

namespace serve {
extern const CpuKernels kAvx2Kernels;
const CpuKernels kAvx2Kernels{kLanes,
                              std::int64_t{kLanes} * kWide,
                              RunDense,
                              {TransformInput<float>, TransformOutput<float>},
                              {TransformInput<std::uint16_t>, TransformOutput<std::uint16_t>},
                              Exponentials};
}  // namespace serve
