#include "trainer/data/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

namespace serve::trainer {

Result<MappedFile> MappedFile::Open(const std::filesystem::path& file) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    return Status{Code::kNotFound, fmt::format("there is no file {}", file.string())};
  }
  if (!std::filesystem::exists(status)) {
    return Internal(fmt::format("cannot read {}: {}", file.string(), error.message()));
  }
  if (std::filesystem::is_directory(status)) {
    return InvalidArgument(fmt::format("{} is a folder; name a file", file.string()));
  }
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return Internal(fmt::format("cannot read {}: {}", file.string(), std::strerror(errno)));
  }
  Result<MappedFile> mapped = Of(descriptor);
  close(descriptor);
  if (!mapped) return Internal(fmt::format("cannot read {}: {}", file.string(), mapped.error().message));
  return mapped;
}

Result<MappedFile> MappedFile::Of(int descriptor) {
  struct stat status {};
  if (fstat(descriptor, &status) != 0) return Internal(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return Internal("it is no regular file, which is read more than once");
  MappedFile mapped;
  mapped.size_ = static_cast<std::size_t>(status.st_size);
  if (mapped.size_ == 0) return mapped;
  void* const data = mmap(nullptr, mapped.size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (data == MAP_FAILED) {
    mapped.size_ = 0;
    return Internal(std::strerror(errno));
  }
  madvise(data, mapped.size_, MADV_SEQUENTIAL);
  mapped.data_ = static_cast<const char*>(data);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<char*>(data_), size_);
}

}  // namespace serve::trainer
