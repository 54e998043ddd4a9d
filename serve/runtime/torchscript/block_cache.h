#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <unordered_map>

namespace serve {

/// Keeps large blocks of memory that were given back, for the next who needs one of about that size. The
/// activations of a large batch come and go with every run; a general allocator returns such blocks to the
/// system each time, which then clears every page of them again.
///
/// Threads: any.
class BlockCache {
 public:
  using Clock = std::chrono::steady_clock;

  /// Keeps `most` bytes at most, and nothing that nobody wanted for `patience`.
  BlockCache(std::size_t most, Clock::duration patience) : most_(most), patience_(patience) {}
  ~BlockCache() { Drop(0, {}); }
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  /// Aligned to a page. Throws std::bad_alloc.
  void* Take(std::size_t bytes);
  /// What is kept goes back to the system.
  void Clear();
  /// False: the block did not come from here.
  bool Give(void* block, Clock::time_point now = Clock::now());
  [[nodiscard]] std::size_t kept() const;

 private:
  struct Kept {
    void* block;
    std::size_t size;
    Clock::time_point since;
  };
  void Drop(std::size_t most, Clock::time_point before);

  const std::size_t most_;
  const Clock::duration patience_;
  mutable std::mutex mutex_;                     // guards everything below
  std::unordered_map<void*, std::size_t> lent_;  // their sizes
  std::deque<Kept> blocks_;                      // the one that waits longest first
  std::size_t kept_ = 0;
};

/// From now on libtorch's tensors of 16 MiB and more live in such blocks. What is smaller its allocator keeps
/// by itself. Once for the process, before the first model.
void KeepLargeTensors();
/// What is kept for the next who needs it goes back to the system: after weights that nobody needs again.
void ReturnLargeTensors();

}  // namespace serve
