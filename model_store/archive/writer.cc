#include "model_store/archive/writer.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include "model_store/archive/utf8_names.h"
#include "model_store/archive/zip_writer.h"
#include "serve/base/files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::time_t kTime = 315'532'800;  // 1980-01-01 UTC, as in a zip file

class TgzWriter final : public ArchiveWriter {
 public:
  TgzWriter(fs::path output, std::string top) : output_(std::move(output)), top_(std::move(top)) {}
  ~TgzWriter() override {
    archive_.reset();  // writes what it holds back, so before the descriptor closes
    if (descriptor_ >= 0) close(descriptor_);
  }

  Status Open() {
    descriptor_ = OpenNewFile(output_);
    if (descriptor_ < 0) return CannotWrite(output_, std::strerror(errno));
    archive_.reset(archive_write_new());
    archive_write_add_filter_gzip(archive_.get());
    archive_write_set_filter_option(archive_.get(), "gzip", "timestamp", nullptr);  // else: now
    archive_write_set_format_gnutar(archive_.get());
    if (archive_write_open_fd(archive_.get(), descriptor_) != ARCHIVE_OK) return Failed();
    return {};
  }

  Status Begin(const std::string& path, std::uint64_t size, std::string_view /*sample*/) override {
    const Utf8Names utf8;
    const std::unique_ptr<struct archive_entry, FreeEntry> entry(archive_entry_new());
    const std::string name = top_ + "/" + path;
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(size));
    archive_entry_set_mtime(entry.get(), kTime, 0);
    return archive_write_header(archive_.get(), entry.get()) == ARCHIVE_OK ? Status{} : Failed();
  }

  Status Write(std::string_view bytes) override {
    const la_ssize_t written = archive_write_data(archive_.get(), bytes.data(), bytes.size());
    return written == static_cast<la_ssize_t>(bytes.size()) ? Status{} : Failed();
  }

  Status Finish() override {
    const Utf8Names utf8;
    if (archive_write_close(archive_.get()) != ARCHIVE_OK) return Failed();
    if (fsync(descriptor_) != 0) return CannotWrite(output_, std::strerror(errno));
    return {};
  }

 private:
  struct FreeEntry {
    void operator()(struct archive_entry* entry) const { archive_entry_free(entry); }
  };
  struct FreeWriter {
    void operator()(struct archive* writer) const { archive_write_free(writer); }
  };

  Status Failed() {
    const char* reason = archive_error_string(archive_.get());
    return CannotWrite(output_, reason == nullptr ? "unknown error" : reason);
  }

  const fs::path output_;
  const std::string top_;
  int descriptor_ = -1;
  std::unique_ptr<struct archive, FreeWriter> archive_;
};

class FolderWriter final : public ArchiveWriter {
 public:
  explicit FolderWriter(fs::path output) : output_(std::move(output)) {}
  ~FolderWriter() override {
    if (descriptor_ >= 0) close(descriptor_);
  }

  Status Open() {
    if (mkdir(output_.c_str(), 0755) != 0) return CannotWrite(output_, std::strerror(errno));
    return {};
  }

  Status Begin(const std::string& path, std::uint64_t /*size*/, std::string_view /*sample*/) override {
    if (Status closed = CloseFile(); !closed.ok()) return closed;
    const fs::path file = output_ / path;
    std::error_code error;
    fs::create_directories(file.parent_path(), error);
    if (error) return CannotWrite(file, error.message());
    descriptor_ = OpenNewFile(file);
    if (descriptor_ < 0) return CannotWrite(file, std::strerror(errno));
    return {};
  }

  Status Write(std::string_view bytes) override {
    if (WriteAll(descriptor_, bytes).empty()) return {};
    return CannotWrite(output_, std::strerror(errno));
  }

  Status Finish() override { return CloseFile(); }

 private:
  Status CloseFile() {
    if (descriptor_ < 0) return {};
    const bool synced = fsync(descriptor_) == 0;
    const int error = errno;
    close(std::exchange(descriptor_, -1));
    return synced ? Status{} : CannotWrite(output_, std::strerror(error));
  }

  const fs::path output_;
  int descriptor_ = -1;
};

template <class Writer>
Result<std::unique_ptr<ArchiveWriter>> Opened(std::unique_ptr<Writer> writer) {
  if (Status opened = writer->Open(); !opened.ok()) return opened;
  return std::unique_ptr<ArchiveWriter>(std::move(writer));
}

}  // namespace

int OpenNewFile(const fs::path& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
}

Status CannotWrite(const fs::path& output, std::string_view reason) {
  return Internal(fmt::format("cannot write {}: {}", output.string(), reason));
}

Result<std::unique_ptr<ArchiveWriter>> OpenWriter(const fs::path& output, ArchiveFormat format,
                                                  const std::string& top) {
  if (format == ArchiveFormat::kNoArchive) return Opened(std::make_unique<FolderWriter>(output));
  if (format == ArchiveFormat::kTgz) return Opened(std::make_unique<TgzWriter>(output, top));
  return OpenZipWriter(output, format == ArchiveFormat::kZipStore);
}

}  // namespace serve
