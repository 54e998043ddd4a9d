#include "serve/runtime/torchscript/map_weights.h"

#include <caffe2/serialize/read_adapter_interface.h>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <map>
#include <memory>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <torch/csrc/jit/serialization/import.h>

#include "serve/runtime/torchscript/block_cache.h"

namespace serve {
namespace {

/// Smaller ones are not worth a page of their own.
constexpr std::size_t kFewestBytes = 128 << 10;
constexpr std::uint64_t kAlignment = 64;  // of tensors in archives, and what kernels like

/// The whole file. Private: what a module writes to its own buffers is its own.
class Mapping {
 public:
  Mapping(int file, std::size_t size)
      : size_(size), start_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)) {}
  ~Mapping() {
    if (ok()) munmap(start_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] bool ok() const { return start_ != MAP_FAILED; }
  [[nodiscard]] std::byte* at(std::uint64_t offset) const { return static_cast<std::byte*>(start_) + offset; }

 private:
  const std::size_t size_;
  void* const start_;
};

/// What the memory of a tensor holds on to.
struct Part {
  std::shared_ptr<Mapping> mapping;
  std::uint64_t offset;
  std::size_t size;
};

/// Its pages leave this process; those at the ends may belong to other tensors, too.
void Release(void* context) {
  const std::unique_ptr<Part> part(static_cast<Part*>(context));
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t first = (part->offset + page - 1) / page * page;
  const std::uint64_t end = (part->offset + part->size) / page * page;
  if (first < end) madvise(part->mapping->at(first), end - first, MADV_DONTNEED);
}

/// Reads the file for libtorch, and notes where it put what.
class NotingReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit NotingReader(const std::filesystem::path& path) : file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat status {};
    if (file_ >= 0 && fstat(file_, &status) == 0) size_ = static_cast<std::size_t>(status.st_size);
  }
  ~NotingReader() override {
    if (file_ >= 0) close(file_);
  }

  [[nodiscard]] bool ok() const { return file_ >= 0 && size_ > 0; }
  [[nodiscard]] std::size_t size() const override { return size_; }
  std::size_t read(std::uint64_t position, void* buffer, std::size_t count, const char*) const override {
    std::size_t done = 0;
    while (done < count) {
      const ssize_t got =
          pread(file_, static_cast<char*>(buffer) + done, count - done, static_cast<off_t>(position + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      done += static_cast<std::size_t>(got);
    }
    if (count >= kFewestBytes && done == count) notes_[buffer] = {position, count};
    return done;
  }

  /// Lets what lies in a buffer of libtorch lie in the file; a place of the file belongs to one buffer only.
  void Move(at::StorageImpl& storage, const std::shared_ptr<Mapping>& mapping) {
    const auto note = notes_.find(storage.data());
    if (note == notes_.end() || note->second.second != storage.nbytes()) return;
    const auto [offset, size] = note->second;
    if (offset % kAlignment != 0 || !moved_.insert(offset).second) return;
    storage.set_data_ptr_noswap(
        at::DataPtr(mapping->at(offset), new Part{mapping, offset, size}, &Release, storage.device()));
  }

  [[nodiscard]] std::shared_ptr<Mapping> Map() const { return std::make_shared<Mapping>(file_, size_); }

 private:
  const int file_;
  std::size_t size_ = 0;
  mutable std::map<const void*, std::pair<std::uint64_t, std::size_t>> notes_;
  std::set<std::uint64_t> moved_;
};

/// Code of its own that ran while it was loaded: then what lies in a buffer need not be what was read into
/// it.
bool RanCode(const c10::IValue& module) {
  bool found = false;
  module.visit([&](const c10::IValue& value) {
    found = found || (value.isObject() && value.toObject()->type()->findMethod("__setstate__") != nullptr);
    return found;
  });
  return found;
}

}  // namespace

torch::jit::Module LoadMapped(const std::filesystem::path& file) {
  const auto reader = std::make_shared<NotingReader>(file);
  if (!reader->ok()) return torch::jit::load(file.string(), c10::kCPU);
  torch::jit::Module module = torch::jit::load(reader, c10::kCPU);
  const c10::IValue value(module._ivalue());
  if (RanCode(value)) return module;
  const std::shared_ptr<Mapping> mapping = reader->Map();
  if (!mapping->ok()) return module;
  value.visit([&](const c10::IValue& part) {
    if (part.isTensor() && part.toTensor().has_storage())
      reader->Move(*part.toTensor().storage().unsafeGetStorageImpl(), mapping);
    return false;
  });
  ReturnLargeTensors();  // the copies
  return module;
}

}  // namespace serve
