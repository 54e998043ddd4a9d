#include "model_store/archive/unpack.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_set>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "model_store/archive/utf8_names.h"
#include "model_store/archive/zip_directory.h"
#include "serve/base/files.h"

namespace serve {
namespace {

constexpr std::size_t kBlock = 256 * 1024;

struct FreeReader {
  void operator()(struct archive* reader) const { archive_read_free(reader); }
};

/// A file descriptor that is closed in the end.
class OutputFile {
 public:
  /// Never follows a link and never opens what exists.
  explicit OutputFile(const std::filesystem::path& path)
      : descriptor_(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) {}
  ~OutputFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  [[nodiscard]] bool opened() const { return descriptor_ >= 0; }
  bool Write(std::string_view bytes) { return WriteAll(descriptor_, bytes).empty(); }

 private:
  int descriptor_;
};

class Unpacker {
 public:
  Unpacker(const std::filesystem::path& archive, const std::filesystem::path& folder, PackedFormat format,
           const UnpackLimits& limits)
      : archive_(archive), folder_(folder), format_(format), limits_(limits), block_(kBlock) {}

  Status Run() {
    struct stat file {};
    if (stat(archive_.c_str(), &file) != 0) return Internal(Text(std::strerror(errno)));
    packed_bytes_ = static_cast<std::uint64_t>(file.st_size);
    reader_.reset(archive_read_new());
    if (format_ == PackedFormat::kZip) {
      // Only the reader that starts at the directory: a file without one is incomplete.
      archive_read_support_format_zip_seekable(reader_.get());
    } else {
      archive_read_support_filter_gzip(reader_.get());
      archive_read_support_format_tar(reader_.get());
    }
    if (archive_read_open_filename(reader_.get(), archive_.c_str(), kBlock) != ARCHIVE_OK) return Damaged();
    for (std::size_t entries = 0;;) {
      struct archive_entry* entry = nullptr;
      const int code = archive_read_next_header(reader_.get(), &entry);
      if (code == ARCHIVE_EOF) return {};
      if (code != ARCHIVE_OK) return Damaged();
      if (++entries > limits_.max_entries) {
        return Refuse(fmt::format("has more than {} entries", limits_.max_entries));
      }
      if (Status unpacked = UnpackEntry(entry); !unpacked.ok()) return unpacked;
    }
  }

 private:
  Status UnpackEntry(struct archive_entry* entry) {
    const char* raw = archive_entry_pathname(entry);
    if (raw == nullptr) return Refuse("an entry has no name, or one that is not UTF-8");
    std::string path = raw;
    const mode_t type = archive_entry_filetype(entry);
    if (archive_entry_symlink(entry) != nullptr || archive_entry_hardlink(entry) != nullptr ||
        type == AE_IFLNK) {
      return Refuse(fmt::format("the entry \"{}\" is a link; only files and folders are allowed", path));
    }
    if (type != AE_IFREG && type != AE_IFDIR) {
      return Refuse(fmt::format(
          "the entry \"{}\" is a device, pipe or socket; only files and folders are allowed", path));
    }
    if (archive_entry_is_encrypted(entry) != 0)
      return Refuse(fmt::format("the entry \"{}\" is encrypted", path));

    if (type == AE_IFDIR && path.ends_with('/')) path.pop_back();
    if (format_ == PackedFormat::kTarGz) {
      if (path.starts_with('/')) return Refuse(fmt::format("the path \"{}\" is absolute", path));
      const std::size_t top = path.find('/');
      if (path == ".." || path.starts_with("../")) return Refuse(CheckEntryPath(path).message);
      if (top == std::string::npos && type == AE_IFDIR) return {};
      if (top == std::string::npos) {
        return Refuse(fmt::format(
            "the file \"{}\" is not under a top folder, as all files of a .tar.gz must be", path));
      }
      path.erase(0, top + 1);
    }
    if (const Status check = CheckEntryPath(path, limits_.max_depth); !check.ok())
      return Refuse(check.message);

    if (type == AE_IFDIR) return MakeFolders(path);
    if (!names_.insert(path).second) return Refuse(fmt::format("the path \"{}\" comes twice", path));
    if (const std::size_t slash = path.rfind('/'); slash != std::string::npos) {
      if (Status made = MakeFolders(path.substr(0, slash)); !made.ok()) return made;
    }
    return WriteFile(entry, path);
  }

  /// Makes the folder and those above it.
  Status MakeFolders(const std::string& path) {
    if (!folders_.insert(path).second) return {};
    if (const std::size_t slash = path.rfind('/'); slash != std::string::npos) {
      if (Status made = MakeFolders(path.substr(0, slash)); !made.ok()) return made;
    }
    if (mkdir((folder_ / path).c_str(), 0700) == 0) return {};
    if (errno == EEXIST) return Refuse(fmt::format("the path \"{}\" is a file and a folder", path));
    return DiskError(path);
  }

  Status WriteFile(struct archive_entry* entry, const std::string& path) {
    if (archive_entry_size_is_set(entry) != 0) {
      if (Status fits = CheckSize(static_cast<std::uint64_t>(archive_entry_size(entry)), path); !fits.ok())
        return fits;
    }
    OutputFile file(folder_ / path);
    if (!file.opened()) {
      if (errno == EEXIST || errno == EISDIR) {
        return Refuse(fmt::format("the path \"{}\" is a file and a folder", path));
      }
      return DiskError(path);
    }
    for (;;) {
      std::string_view bytes;
      if (!Read(bytes)) return Damaged(path);
      if (bytes.empty()) return {};
      if (Status fits = CheckSize(bytes.size(), path); !fits.ok()) return fits;
      unpacked_bytes_ += bytes.size();
      if (!file.Write(bytes)) return DiskError(path);
    }
  }

  /// The next bytes of the entry, none at its end. False: it is damaged, which is also what libarchive only
  /// warns of, a wrong checksum or size.
  bool Read(std::string_view& bytes) {
    if (format_ == PackedFormat::kTarGz) {  // in a tar file there may be holes
      const la_ssize_t count = archive_read_data(reader_.get(), block_.data(), block_.size());
      if (count > 0) bytes = {block_.data(), static_cast<std::size_t>(count)};
      return count >= 0;
    }
    const void* data = nullptr;
    std::size_t count = 0;
    la_int64_t offset = 0;
    int code = ARCHIVE_OK;
    while (code == ARCHIVE_OK && count == 0)
      code = archive_read_data_block(reader_.get(), &data, &count, &offset);
    if (code == ARCHIVE_OK) bytes = {static_cast<const char*>(data), count};
    return code == ARCHIVE_OK || code == ARCHIVE_EOF;
  }

  /// Whether `more` bytes still fit the limits.
  Status CheckSize(std::uint64_t more, const std::string& path) {
    if (more > limits_.max_bytes || unpacked_bytes_ > limits_.max_bytes - more) {
      return Refuse(
          fmt::format("unpacks to more than {} bytes (at the entry \"{}\")", limits_.max_bytes, path));
    }
    const std::uint64_t total = unpacked_bytes_ + more;
    if (total > limits_.ratio_free_bytes && total / limits_.max_ratio > packed_bytes_) {
      return Refuse(fmt::format("unpacks to more than {} times its size (at the entry \"{}\")",
                                limits_.max_ratio, path));
    }
    return {};
  }

  [[nodiscard]] std::string Text(std::string_view reason) const {
    return fmt::format("{}: {}", archive_.string(), reason);
  }
  [[nodiscard]] Status Refuse(std::string_view rule) const { return InvalidArgument(Text(rule)); }
  [[nodiscard]] Status DiskError(const std::string& path) const {
    return Internal(
        Text(fmt::format("cannot write \"{}\" to {}: {}", path, folder_.string(), std::strerror(errno))));
  }
  [[nodiscard]] Status Damaged(const std::string& path = {}) const {
    const char* reason = archive_error_string(reader_.get());
    const std::string where = path.empty() ? "" : fmt::format("the entry \"{}\": ", path);
    return Refuse(fmt::format("{}{}; the archive is damaged or incomplete", where,
                              reason == nullptr ? "unknown error" : reason));
  }

  const std::filesystem::path& archive_;
  const std::filesystem::path& folder_;
  const PackedFormat format_;
  const UnpackLimits& limits_;
  std::unique_ptr<struct archive, FreeReader> reader_;
  std::vector<char> block_;
  std::unordered_set<std::string> names_;    // files so far
  std::unordered_set<std::string> folders_;  // folders so far
  std::uint64_t packed_bytes_ = 0;
  std::uint64_t unpacked_bytes_ = 0;
};

}  // namespace

Status Unpack(const std::filesystem::path& archive, const std::filesystem::path& folder, PackedFormat format,
              const UnpackLimits& limits) {
  if (format == PackedFormat::kZip) {
    if (Status check = CheckZipDirectory(archive, limits.max_entries); !check.ok()) return check;
  }
  const Utf8Names utf8;
  return Unpacker(archive, folder, format, limits).Run();
}

}  // namespace serve
