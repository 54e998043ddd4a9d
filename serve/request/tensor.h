#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "serve/base/buffer.h"
#include "serve/base/tensor_spec.h"

namespace serve {

/// A dense row-major tensor that knows nothing of libtorch: handlers and scheduler build and test without it,
/// and the runtime wraps the same memory without a copy. Dimension 0 is the batch dimension. The memory is
/// shared (a row of an output is a view of the whole output), and constant once it is shared.
struct Tensor {
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::shared_ptr<std::byte> data;  // may point into memory that its control block owns

  static Tensor Empty(DType dtype, std::vector<std::int64_t> shape) {
    Tensor tensor{dtype, std::move(shape), nullptr};
    tensor.data = Buffer(tensor.bytes()).Release();
    return tensor;
  }

  [[nodiscard]] std::int64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  }
  [[nodiscard]] std::size_t bytes() const { return static_cast<std::size_t>(elements()) * DTypeSize(dtype); }
  [[nodiscard]] std::int64_t rows() const { return shape.empty() ? 1 : shape[0]; }

  template <class T>
  [[nodiscard]] T* as() {
    return reinterpret_cast<T*>(data.get());
  }
  template <class T>
  [[nodiscard]] const T* as() const {
    return reinterpret_cast<const T*>(data.get());
  }

  /// Rows [first, first + count) of the same memory.
  [[nodiscard]] Tensor Rows(std::int64_t first, std::int64_t count) const {
    Tensor part{dtype, shape, data};
    if (rows() > 0) {
      const std::size_t row_bytes = bytes() / static_cast<std::size_t>(rows());
      part.data = std::shared_ptr<std::byte>(data, data.get() + static_cast<std::size_t>(first) * row_bytes);
    }
    part.shape[0] = count;
    return part;
  }
};

}  // namespace serve
