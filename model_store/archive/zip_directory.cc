#include "model_store/archive/zip_directory.h"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace serve {
namespace {

// Layouts and signatures: PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
constexpr std::string_view kEntry = "PK\x03\x04";
constexpr std::string_view kDirectoryEntry = "PK\x01\x02";
constexpr std::string_view kEnd = "PK\x05\x06";
constexpr std::string_view kEnd64 = "PK\x06\x06";
constexpr std::string_view kEnd64Locator = "PK\x06\x07";
constexpr std::size_t kDirectoryEntrySize = 46;
constexpr std::size_t kEndSize = 22;
constexpr std::size_t kEnd64Size = 56;
constexpr std::size_t kEnd64LocatorSize = 20;
constexpr std::size_t kMaxDirectoryBytes = 32U << 20;

std::uint64_t Little(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

/// `count` bytes from `at`, or fewer where the file ends.
std::string ReadAt(std::ifstream& file, std::uint64_t at, std::size_t count) {
  std::string bytes(count, '\0');
  file.clear();
  file.seekg(static_cast<std::streamoff>(at));
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return bytes;
}

struct Directory {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
  std::uint64_t end = 0;  // where the record stands that describes the directory
};

/// Finds the end record; false when there is none or it contradicts the file.
bool FindDirectory(std::ifstream& file, std::uint64_t file_size, Directory& directory) {
  const std::size_t tail_size =
      static_cast<std::size_t>(std::min<std::uint64_t>(file_size, kEndSize + 0xffff));
  const std::string tail = ReadAt(file, file_size - tail_size, tail_size);
  if (tail.size() != tail_size || tail_size < kEndSize) return false;
  std::size_t at = tail.rfind(kEnd, tail_size - kEndSize);
  while (at != std::string::npos && at + kEndSize + Little(tail, at + 20, 2) != tail_size) {
    if (at == 0) return false;
    at = tail.rfind(kEnd, at - 1);
  }
  if (at == std::string::npos) return false;
  directory.end = file_size - tail_size + at;
  directory.entries = Little(tail, at + 10, 2);
  directory.size = Little(tail, at + 12, 4);
  directory.offset = Little(tail, at + 16, 4);

  // A zip64 record stands in front of a locator of fixed size.
  if (directory.end >= kEnd64LocatorSize + kEnd64Size) {
    const std::string locator = ReadAt(file, directory.end - kEnd64LocatorSize, kEnd64LocatorSize);
    if (locator.starts_with(kEnd64Locator)) {
      const std::uint64_t end64 = Little(locator, 8, 8);
      if (end64 > directory.end - kEnd64LocatorSize - kEnd64Size) return false;
      const std::string record = ReadAt(file, end64, kEnd64Size);
      if (!record.starts_with(kEnd64) || record.size() != kEnd64Size) return false;
      directory = {Little(record, 48, 8), Little(record, 40, 8), Little(record, 32, 8), end64};
    }
  }
  return directory.offset <= directory.end && directory.size == directory.end - directory.offset;
}

}  // namespace

Status CheckZipDirectory(const std::filesystem::path& path, std::size_t max_entries) {
  const auto refuse = [&path](std::string_view rule) {
    return InvalidArgument(fmt::format("{}: {}", path.string(), rule));
  };
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return refuse("cannot be read");
  const auto file_size = static_cast<std::uint64_t>(file.tellg());
  const std::string magic = ReadAt(file, 0, 4);
  if (magic.empty()) return refuse("is empty; a .mar file is a zip file");
  if (magic != kEntry && magic != kEnd) return refuse("is not a zip file, which a .mar file must be");

  Directory directory;
  if (!FindDirectory(file, file_size, directory)) {
    return refuse("the zip directory at the end is missing or wrong; the archive is damaged or incomplete");
  }
  if (directory.entries > max_entries) {
    return refuse(fmt::format("has {} entries, allowed are {}", directory.entries, max_entries));
  }
  if (directory.size > kMaxDirectoryBytes) {
    return refuse(
        fmt::format("its zip directory has {} bytes, allowed are {}", directory.size, kMaxDirectoryBytes));
  }
  const std::string bytes = ReadAt(file, directory.offset, static_cast<std::size_t>(directory.size));
  std::size_t at = 0;
  for (std::uint64_t entry = 0; entry < directory.entries; ++entry) {
    if (at + kDirectoryEntrySize > bytes.size() || bytes.compare(at, 4, kDirectoryEntry) != 0) {
      return refuse(fmt::format("entry {} of the zip directory is wrong; the archive is damaged", entry));
    }
    const std::size_t name_size = Little(bytes, at + 28, 2);
    const std::size_t tail_size = Little(bytes, at + 30, 2) + Little(bytes, at + 32, 2);
    const std::string_view name = std::string_view(bytes).substr(at + kDirectoryEntrySize, name_size);
    if (name.find('\0') != std::string_view::npos) {
      return refuse(fmt::format("the name of entry {} holds a NUL byte", entry));
    }
    if (Little(bytes, at + 24, 4) == 0 && Little(bytes, at + 16, 4) != 0) {
      return refuse(fmt::format(
          "entry \"{}\" says it is empty, its checksum says it is not; the archive is damaged", name));
    }
    at += kDirectoryEntrySize + name_size + tail_size;
  }
  if (at != bytes.size()) return refuse("the zip directory has unlisted bytes; the archive is damaged");
  return {};
}

}  // namespace serve
