#pragma once

namespace serve {

/// Asks Linux to run the calling thread soon after it wakes, for short stretches, although others keep every
/// CPU busy: a large model computes for milliseconds, an I/O thread needs microseconds. Costs nobody CPU
/// time. Linux before 6.12 and a sandbox that forbids the call ignore it.
void PreferShortSlices();

}  // namespace serve
