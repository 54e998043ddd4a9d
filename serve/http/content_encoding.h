#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "serve/base/buffer.h"
#include "serve/base/gzip.h"
#include "serve/base/status.h"

namespace serve {

/// Unpacks a request body as its Content-Encoding says: `gzip` (also `x-gzip`), `deflate` (zlib).
///
/// Memory:  at most `limit` bytes and the decompressor's 50 KB, however small the packed body is.
/// Errors:  kUnsupportedMedia for another coding, kPayloadTooLarge above `limit`, kInvalidArgument for a body
/// that
///          is damaged, cut off or followed by something else.
Result<Buffer> Unpack(std::string_view encoding, std::string_view packed, std::size_t limit);

/// Whether an Accept-Encoding field takes gzip: it is named, or `*` is, without `q=0`.
bool AcceptsGzip(std::string_view accept_encoding);

}  // namespace serve
