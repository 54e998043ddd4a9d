#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "serve/base/status.h"

namespace serve {

/// All bytes of a file, or of a pipe until its end. Errors: kNotFound (there is none), kInvalidArgument (it
/// is a folder, may not be read, or has more than `max_bytes`), kInternal (the disk). The message is the
/// reason alone; the caller knows by which name its user calls the file. Throws nothing, unlike a stream's
/// iterators.
Result<std::string> ReadFile(const std::filesystem::path& file, std::uint64_t max_bytes);

}  // namespace serve
