#include "serve/base/files.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::uint64_t kStep = 64U << 10;

Status Reason(int error) {
  const std::string text = std::generic_category().message(error);
  if (error == ENOENT || error == ENOTDIR) return {Code::kNotFound, text};
  if (error == EISDIR || error == EACCES || error == ELOOP) return InvalidArgument(text);
  return Internal(text);
}

Result<std::string> ReadOpen(int file, std::uint64_t max_bytes) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return Reason(errno);
  const std::uint64_t size = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (size > max_bytes)
    return InvalidArgument(fmt::format("it has {} bytes, allowed are {}", size, max_bytes));
  std::string text;
  std::size_t filled = 0;
  // One byte more than expected shows the end, and a file that grew.
  for (std::uint64_t room = size + 1;; room = kStep) {
    text.resize(filled + room);
    while (filled < text.size()) {
      const ssize_t got = ::read(file, text.data() + filled, text.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Reason(errno);
      if (got == 0) {
        text.resize(filled);
        return text;
      }
      filled += static_cast<std::size_t>(got);
      if (filled > max_bytes) return InvalidArgument(fmt::format("it has more than {} bytes", max_bytes));
    }
  }
}

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& file, std::uint64_t max_bytes) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return Reason(errno);
  Result<std::string> text = ReadOpen(descriptor, max_bytes);
  ::close(descriptor);
  return text;
}

std::string_view WriteAll(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written == 0) errno = EIO;  // no writable thing answers so
    if (written <= 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return bytes;
}

}  // namespace serve
