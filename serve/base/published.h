#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <utility>

#include "serve/base/thread_shard.h"

namespace serve {

/// A value that is read on the hot path and seldom changes. It is immutable: a change publishes a new one.
///
/// Threads: any. A reader takes the copy of its own cell, so that threads do not meet at one lock or
/// reference count;
///          what it got stays valid as long as it is held. Two threads that publish must agree on an order
///          themselves.
template <class T>
class Published {
 public:
  /// Null before the first Publish.
  [[nodiscard]] std::shared_ptr<const T> Get() const {
    const Cell& cell = cells_[ThreadShard()];
    const std::lock_guard lock(cell.mutex);
    return cell.value;
  }

  void Publish(std::shared_ptr<const T> value) {
    for (Cell& cell : cells_) {
      std::shared_ptr<const T> old;  // dies outside the lock
      const std::lock_guard lock(cell.mutex);
      old = std::exchange(cell.value, value);
    }
  }

 private:
  struct alignas(64) Cell {
    mutable std::mutex mutex;
    std::shared_ptr<const T> value;
  };
  std::array<Cell, kThreadShards> cells_;
};

}  // namespace serve
