#include "model_store/archive/zip_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <zlib.h>

namespace serve {
namespace {

// Layouts: PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.
constexpr std::uint64_t kMax16 = 0xffff;
constexpr std::uint64_t kMax32 = 0xffffffff;
constexpr std::size_t kChecksumAt = 14;  // in an entry's header; the sizes follow
constexpr std::uint16_t kUtf8Name = 0x0800;
constexpr std::uint16_t kDate = 0x21;  // 1980-01-01, so that equal input gives equal bytes
constexpr std::uint32_t kRegularFile = 0100644;
constexpr std::uint64_t kBigEntry =
    0xf0000000;  // 64-bit sizes from here on: packed it may be a little larger

constexpr int kFastest = 1;  // what does not shrink at this level hardly does at another

void Put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

/// Whether it is worth the time that inflating takes.
bool Shrinks(std::string_view sample) {
  uLongf size = compressBound(sample.size());
  std::string packed(size, '\0');
  const int code = compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                             reinterpret_cast<const Bytef*>(sample.data()), sample.size(), kFastest);
  return code == Z_OK && size <= sample.size() / 5 * 4;
}

class ZipWriter final : public ArchiveWriter {
 public:
  ZipWriter(std::filesystem::path output, bool store_all)
      : output_(std::move(output)), store_all_(store_all) {}
  ~ZipWriter() override {
    if (deflating_) deflateEnd(&stream_);
    if (descriptor_ >= 0) close(descriptor_);
  }
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  Status Open() {
    descriptor_ = OpenNewFile(output_);
    return descriptor_ < 0 ? Failed() : Status{};
  }

  Status Begin(const std::string& path, std::uint64_t size, std::string_view sample) override {
    if (Status closed = CloseEntry(); !closed.ok()) return closed;
    entry_ = {.path = path, .offset = offset_, .big = size >= kBigEntry};
    entry_.deflated = !store_all_ && Shrinks(sample);
    open_ = true;
    if (entry_.deflated) {
      stream_ = {};
      if (deflateInit2(&stream_, kFastest, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return CannotWrite(output_, "no memory to deflate");
      deflating_ = true;
    }
    return Append(Header());  // again in CloseEntry, with sizes and checksum
  }

  Status Write(std::string_view bytes) override {
    entry_.checksum = static_cast<std::uint32_t>(
        crc32_z(entry_.checksum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
    entry_.size += bytes.size();
    return Pack(bytes, Z_NO_FLUSH);
  }

  Status Finish() override {
    if (Status closed = CloseEntry(); !closed.ok()) return closed;
    if (Status written = Append(directory_ + EndRecords()); !written.ok()) return written;
    return fsync(descriptor_) == 0 ? Status{} : Failed();
  }

 private:
  struct Entry {
    std::string path;
    std::uint64_t offset = 0;  // of its header
    bool big = false;          // has 64-bit sizes
    bool deflated = false;
    std::uint32_t checksum = 0;
    std::uint64_t size = 0;
    std::uint64_t packed_size = 0;
  };

  /// What an entry's header and its line in the directory have in common, from the version on.
  [[nodiscard]] std::string Common(std::size_t extra) const {
    std::string out;
    Put(out, entry_.big || entry_.offset >= kMax32 ? 45 : 20, 2);  // version of the format that reads it
    Put(out, kUtf8Name, 2);
    Put(out, entry_.deflated ? 8 : 0, 2);
    Put(out, 0, 2);  // time
    Put(out, kDate, 2);
    Put(out, entry_.checksum, 4);
    Put(out, entry_.big ? kMax32 : entry_.packed_size, 4);
    Put(out, entry_.big ? kMax32 : entry_.size, 4);
    Put(out, entry_.path.size(), 2);
    Put(out, extra, 2);
    return out;
  }

  /// The 64-bit values that do not fit their fields.
  [[nodiscard]] std::string Extra(bool with_offset) const {
    std::string values;
    if (entry_.big) Put(values, entry_.size, 8);
    if (entry_.big) Put(values, entry_.packed_size, 8);
    if (with_offset && entry_.offset >= kMax32) Put(values, entry_.offset, 8);
    if (values.empty()) return values;
    std::string out;
    Put(out, 1, 2);
    Put(out, values.size(), 2);
    return out + values;
  }

  [[nodiscard]] std::string Header() const {
    const std::string extra = Extra(false);
    return "PK\x03\x04" + Common(extra.size()) + entry_.path + extra;
  }

  Status Pack(std::string_view bytes, int flush) {
    if (!entry_.deflated) {
      entry_.packed_size += bytes.size();
      return Append(bytes);
    }
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());  // one block of the file
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(block_.data());
      stream_.avail_out = static_cast<uInt>(block_.size());
      deflate(&stream_, flush);
      const std::size_t count = block_.size() - stream_.avail_out;
      entry_.packed_size += count;
      if (Status written = Append({block_.data(), count}); !written.ok()) return written;
    } while (stream_.avail_out == 0);
    return {};
  }

  /// Ends the entry that is open, if there is one.
  Status CloseEntry() {
    if (!std::exchange(open_, false)) return {};
    if (deflating_) {
      if (Status packed = Pack({}, Z_FINISH); !packed.ok()) return packed;
      deflateEnd(&stream_);
      deflating_ = false;
    }
    const std::string header = Header();
    if (Status written = WriteAt(std::string_view(header).substr(kChecksumAt), entry_.offset + kChecksumAt);
        !written.ok()) {
      return written;
    }
    const std::string extra = Extra(true);
    directory_ += "PK\x01\x02";
    Put(directory_, 0x031e, 2);  // made on Unix
    directory_ += Common(extra.size());
    Put(directory_, 0, 2);  // comment
    Put(directory_, 0, 2);  // disk
    Put(directory_, 0, 2);  // internal attributes
    Put(directory_, std::uint64_t{kRegularFile} << 16, 4);
    Put(directory_, std::min(entry_.offset, kMax32), 4);
    directory_ += entry_.path + extra;
    ++entries_;
    return {};
  }

  [[nodiscard]] std::string EndRecords() const {
    std::string out;
    if (entries_ >= kMax16 || directory_.size() >= kMax32 || offset_ >= kMax32) {
      out += "PK\x06\x06";
      Put(out, 44, 8);      // bytes that follow
      Put(out, 0x031e, 2);  // made on Unix
      Put(out, 45, 2);      // version of the format that reads it
      Put(out, 0, 8);       // disks
      Put(out, entries_, 8);
      Put(out, entries_, 8);
      Put(out, directory_.size(), 8);
      Put(out, offset_, 8);
      out += "PK\x06\x07";
      Put(out, 0, 4);  // disk
      Put(out, offset_ + directory_.size(), 8);
      Put(out, 1, 4);  // disks
    }
    out += "PK\x05\x06";
    Put(out, 0, 4);  // disks
    Put(out, std::min(entries_, kMax16), 2);
    Put(out, std::min(entries_, kMax16), 2);
    Put(out, std::min<std::uint64_t>(directory_.size(), kMax32), 4);
    Put(out, std::min(offset_, kMax32), 4);
    Put(out, 0, 2);  // comment
    return out;
  }

  Status Append(std::string_view bytes) {
    Status written = WriteAt(bytes, offset_);
    offset_ += bytes.size();
    return written;
  }

  Status WriteAt(std::string_view bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
      const ssize_t count = pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return Failed();
      bytes.remove_prefix(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }

  [[nodiscard]] Status Failed() const { return CannotWrite(output_, std::strerror(errno)); }

  const std::filesystem::path output_;
  const bool store_all_;
  int descriptor_ = -1;
  std::uint64_t offset_ = 0;  // where the file ends
  std::uint64_t entries_ = 0;
  std::string directory_;

  Entry entry_;  // the one that is written
  bool open_ = false;
  bool deflating_ = false;  // stream_ holds memory
  z_stream stream_{};
  std::array<char, 64 * 1024> block_;
};

}  // namespace

Result<std::unique_ptr<ArchiveWriter>> OpenZipWriter(const std::filesystem::path& output, bool store_all) {
  auto writer = std::make_unique<ZipWriter>(output, store_all);
  if (Status opened = writer->Open(); !opened.ok()) return opened;
  return std::unique_ptr<ArchiveWriter>(std::move(writer));
}

}  // namespace serve
