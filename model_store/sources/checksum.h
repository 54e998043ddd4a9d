#pragma once

#include <filesystem>
#include <string>

#include "model_store/http_client/http_client.h"

namespace serve {

/// Compares a file with the checksums that came with it: `x-goog-hash` (CRC32C, MD5), and with `etag_is_md5`
/// an ETag of 32 hexadecimal digits, unless a key service encrypted it (then it is no MD5). Empty: it fits,
/// or there is nothing to compare; else what is wrong.
std::string CompareChecksums(const std::filesystem::path& file, const HttpAnswer& head, bool etag_is_md5);

}  // namespace serve
