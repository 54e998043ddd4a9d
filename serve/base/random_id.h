#pragma once

#include <cstdint>
#include <string>

namespace serve {

/// From a generator of the calling thread: numbers that need to be different, not secret. No lock, no system
/// call after the thread's first.
std::uint64_t RandomNumber();
/// A new random id of 32 hex digits.
void AppendRandomId(std::string& out);

}  // namespace serve
