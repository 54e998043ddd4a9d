#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "serve/base/status.h"

namespace serve {

/// All bytes of a file, or of a pipe until its end. Errors: kNotFound (there is none), kInvalidArgument (it
/// is a folder, may not be read, or has more than `max_bytes`), kInternal (the disk). The message is the
/// reason alone; the caller knows by which name its user calls the file. Throws nothing, unlike a stream's
/// iterators.
Result<std::string> ReadFile(const std::filesystem::path& file, std::uint64_t max_bytes);

/// Writes to a file, pipe or socket until all is written, and gives what was refused: empty, or `errno` says
/// why (a disk that is full, a pipe that nobody reads). Waits where the descriptor does.
std::string_view WriteAll(int descriptor, std::string_view bytes);

}  // namespace serve
