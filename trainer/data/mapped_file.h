#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "serve/base/status.h"

namespace serve::trainer {

/// A file as one piece of text that may be larger than the memory: its pages are read when they are looked
/// at, and the kernel drops them again when it needs the room. The file must keep its size while the object
/// lives.
class MappedFile {
 public:
  MappedFile() = default;
  /// Errors: kNotFound; kInvalidArgument for a folder; kInternal: it cannot be read.
  static Result<MappedFile> Open(const std::filesystem::path& file);
  /// The same of an open file, which stays the caller's. Errors: kInternal.
  static Result<MappedFile> Of(int descriptor);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  [[nodiscard]] std::string_view content() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace serve::trainer
