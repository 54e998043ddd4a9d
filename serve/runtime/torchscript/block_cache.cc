#include "serve/runtime/torchscript/block_cache.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <new>
#include <sys/mman.h>

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

namespace serve {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLargePage = 2 << 20;
constexpr std::size_t kLarge = 16 << 20;
constexpr std::size_t kMostKept = 256 << 20;
constexpr std::chrono::seconds kPatience{10};

/// A few sizes for each power of two, so that batches of about the same size share blocks.
std::size_t SizeOf(std::size_t bytes) {
  const std::size_t step = std::max(std::bit_floor(bytes) / 8, kLargePage);
  return (bytes + step - 1) / step * step;
}

BlockCache& Tensors() {
  static auto* const cache = new BlockCache(kMostKept, kPatience);  // tensors may outlive everything
  return *cache;
}

/// What libtorch does without this.
c10::Allocator& Others() { return *c10::GetDefaultCPUAllocator(); }

class LargeTensors final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return Others().allocate(bytes);
    void* block = Tensors().Take(bytes);
    return {block, block, &Delete, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &Delete; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void Delete(void* data) {
    const bool may_be_block = reinterpret_cast<std::uintptr_t>(data) % kPage == 0;
    if (!may_be_block || !Tensors().Give(data)) Others().raw_deleter()(data);
  }
};

}  // namespace

void* BlockCache::Take(std::size_t bytes) {
  const std::size_t size = SizeOf(bytes);
  const std::lock_guard lock(mutex_);
  // The latest first: its pages are the likeliest to lie in a cache.
  const auto found =
      std::find_if(blocks_.rbegin(), blocks_.rend(), [&](const Kept& kept) { return kept.size == size; });
  if (found != blocks_.rend()) {
    void* block = found->block;
    lent_.emplace(block, size);
    blocks_.erase(std::next(found).base());
    kept_ -= size;
    return block;
  }
  void* block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw std::bad_alloc();
  (void)madvise(block, size, MADV_HUGEPAGE);  // where there are none, small ones do
  lent_.emplace(block, size);
  return block;
}

bool BlockCache::Give(void* block, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  const auto found = lent_.find(block);
  if (found == lent_.end()) return false;
  blocks_.push_back({block, found->second, now});
  kept_ += found->second;
  lent_.erase(found);
  Drop(most_, now - patience_);
  return true;
}

std::size_t BlockCache::kept() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

/// With the lock.
void BlockCache::Drop(std::size_t most, Clock::time_point before) {
  while (!blocks_.empty() && (kept_ > most || blocks_.front().since < before)) {
    kept_ -= blocks_.front().size;
    munmap(blocks_.front().block, blocks_.front().size);
    blocks_.pop_front();
  }
}

void BlockCache::Clear() {
  const std::lock_guard lock(mutex_);
  Drop(0, {});
}

void ReturnLargeTensors() { Tensors().Clear(); }

void KeepLargeTensors() {
  static LargeTensors allocator;
  c10::SetAllocator(c10::DeviceType::CPU, &allocator);
}

}  // namespace serve
