#pragma once

#include <optional>
#include <string_view>

#include "serve/tracing/options.h"

namespace serve {

/// `key=value,key=value` as OpenTelemetry's variables have it: blanks around both are dropped, `%XX` in a
/// value is decoded. nullopt: an item without a key or a `=`, a broken escape, or a control character.
std::optional<KeyValues> ParseKeyValues(std::string_view text);

}  // namespace serve
