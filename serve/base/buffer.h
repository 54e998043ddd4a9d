#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace serve {

/// Bytes that are moved, not copied, and not cleared when they are made: a request body is read straight into
/// one, and a tensor may take it over as its memory. Aligned to 64 bytes (what vector instructions like);
/// kPadding readable bytes follow the content (what simdjson needs). Not thread-safe.
class Buffer {
 public:
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::size_t kPadding = 64;

  Buffer() = default;
  explicit Buffer(std::size_t size) : data_(Allocate(size)), size_(size) {}
  explicit Buffer(std::string_view text) : Buffer(text.size()) {
    if (!text.empty()) std::memcpy(data_.get(), text.data(), text.size());
  }

  [[nodiscard]] char* data() { return reinterpret_cast<char*>(data_.get()); }
  [[nodiscard]] const char* data() const { return reinterpret_cast<const char*>(data_.get()); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::string_view view() const { return {data(), size_}; }

  /// Keeps the first `size` bytes, which must be no more than there are; the memory stays as large as it was.
  void Shrink(std::size_t size) {
    size_ = size;
    if (data_) std::memset(data_.get() + size, 0, kPadding);
  }

  /// Gives the memory away, e.g. to a Tensor; the buffer is empty afterwards.
  std::shared_ptr<std::byte> Release() && {
    size_ = 0;
    return std::shared_ptr<std::byte>(data_.release(), Free{});
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  static std::unique_ptr<std::byte, Free> Allocate(std::size_t size) {
    if (size > SIZE_MAX / 2) throw std::bad_alloc();  // the rounding below must not wrap
    const std::size_t rounded = (size + kPadding + kAlignment - 1) / kAlignment * kAlignment;
    void* bytes = std::aligned_alloc(kAlignment, rounded);
    if (bytes == nullptr) throw std::bad_alloc();
    std::memset(static_cast<char*>(bytes) + size, 0, rounded - size);
    return std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(bytes));
  }

  std::unique_ptr<std::byte, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace serve
