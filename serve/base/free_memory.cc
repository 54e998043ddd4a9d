#include "serve/base/free_memory.h"

#include <malloc.h>

// mimalloc's, where it is linked; it takes the place of the C library's allocator then.
extern "C" void mi_collect(bool force) __attribute__((weak));

namespace serve {

void ReturnFreeMemory() {
  if (mi_collect != nullptr) mi_collect(true);
  malloc_trim(0);
}

}  // namespace serve
