#pragma once

namespace serve {

/// Gives memory that was freed back to the system, after a work that needed much more than what follows. It
/// takes milliseconds. Any thread; what other threads keep for themselves stays with them.
void ReturnFreeMemory();

}  // namespace serve
