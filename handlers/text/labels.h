#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// The name of the file in an archive.
inline constexpr std::string_view kLabelsFile = "index_to_name.json";
inline constexpr std::size_t kMaxLabels = 100'000;

/// Reads the names of the classes, by class: {"0": "World", "1": ["n02", "Sports"]} (of a list the last
/// element) or
/// {"object_type_names": ["World", "Sports"]}. There must be 2 to kMaxLabels of them, numbered from 0 without
/// a gap, none empty, none twice. Errors: kNotFound, kInvalidArgument, naming the file and the key.
Result<std::vector<std::string>> ReadLabels(const std::filesystem::path& file);

/// The same file for models whose classes need not all have a name: gaps stay empty, a label may come twice,
/// one is enough. No file: an empty list.
Result<std::vector<std::string>> ReadClassNames(const std::filesystem::path& file);

/// `text` (UTF-8) as a JSON string with its quotes, in ASCII, as Python's json.dumps writes it.
std::string QuoteAscii(std::string_view text);

}  // namespace serve
