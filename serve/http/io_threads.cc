#include "serve/http/io_threads.h"

#include <algorithm>

namespace serve {

IoThreads::IoThreads(std::size_t threads) {
  for (std::size_t i = 0; i < std::max<std::size_t>(1, threads); ++i) {
    loops_.push_back(std::make_shared<IoLoop>());
    loops_.back()->Start(static_cast<int>(i));
  }
}

IoThreads::~IoThreads() {
  for (const auto& loop : loops_) loop->Stop();
}

}  // namespace serve
