#pragma once

namespace serve {

/// Asks Linux to run the calling thread soon after it wakes, for short stretches, although others keep every
/// CPU busy: a large model computes for milliseconds, an I/O thread needs microseconds. Costs nobody CPU
/// time. Linux before 6.12 and a sandbox that forbids the call ignore it.
void PreferShortSlices();

/// Lets other threads go before the calling one, and before those that it starts: `nice` as setpriority
/// takes it, 0 to 19. An unprivileged process cannot take it back, so this is for the rest of their lives.
void GoBehindOthers(int nice);

}  // namespace serve
