#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "serve/http/io_loop.h"

namespace serve {

/// The I/O threads of the server; all listeners share them. No thread takes a lock that another needs.
///
/// Ownership: listeners and their connections live on these loops: destroy the listeners first.
class IoThreads {
 public:
  /// `threads`: at least 1. They run at once.
  explicit IoThreads(std::size_t threads);
  /// Closes what is still open, without waiting for answers.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  [[nodiscard]] const std::vector<std::shared_ptr<IoLoop>>& loops() const { return loops_; }

 private:
  std::vector<std::shared_ptr<IoLoop>> loops_;
};

}  // namespace serve
