#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "serve/base/status.h"

namespace serve {

struct DecodedBytes {
  std::shared_ptr<std::byte> data;
  std::size_t size = 0;
};

/// Decodes base64, the standard alphabet or the one for URLs; blanks and line ends are skipped, the padding
/// may be missing, a `data:image/png;base64,` before it is dropped. Errors: kInvalidArgument with the place
/// of the first character that does not belong there.
Result<DecodedBytes> DecodeBase64(std::string_view text);

/// Whether `text` begins as base64 does: its first characters are all of the alphabet.
bool LooksLikeBase64(std::string_view text);

}  // namespace serve
