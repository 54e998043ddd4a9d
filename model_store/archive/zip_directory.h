#pragma once

#include <cstddef>
#include <filesystem>

#include "serve/base/status.h"

namespace serve {

/// Checks of a zip file that libarchive does not make:
/// - it begins with an entry and ends with its own end record. libarchive tolerates bytes in front; then a
/// .mar that
///   was cut right after a stored .pt file (itself a zip) would pass for that inner zip;
/// - no name holds a NUL byte (libarchive cuts the name there);
/// - no entry claims to be empty and has the checksum of something (libarchive checks only what it reads);
/// - the directory lists at most `max_entries` entries.
/// Errors: kInvalidArgument, naming the file and the rule.
Status CheckZipDirectory(const std::filesystem::path& file, std::size_t max_entries);

}  // namespace serve
