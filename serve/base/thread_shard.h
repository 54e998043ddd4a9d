#pragma once

#include <atomic>
#include <cstddef>

namespace serve {

/// In how many places a thing is kept that many threads touch at once, so that they do not meet at one cache
/// line.
inline constexpr std::size_t kThreadShards = 8;

/// The place of this thread, below kThreadShards.
inline std::size_t ThreadShard() {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t shard = next.fetch_add(1, std::memory_order_relaxed) % kThreadShards;
  return shard;
}

}  // namespace serve
