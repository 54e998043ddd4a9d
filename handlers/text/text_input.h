#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"
#include "serve/request/request.h"

namespace serve {

/// What one request may bring.
struct TextLimits {
  std::size_t max_text_bytes = std::size_t{1} << 20;  // of each text
  std::size_t max_texts = 1024;                       // of one request
};

struct TextInput {
  std::vector<std::string_view> texts;  // at least one; none blank
  RenderHint hint;
};

/// Finds the texts of a request.
///
/// Text: a raw body, or a form's field or part named `data` (else `body`), in any encoding that contains
/// ASCII. JSON: "text"                                      one text
///       {"text": "..."} or {"data": "..."}          one text; other keys are ignored
///       ["...", {"text": "..."}]                    several, answered as a list
///       {"instances": ["...", {"text": "..."}]}     several, answered as {"predictions": [...]}
///       Taken for JSON when its type is application/json or ends with +json, and when a raw body without a
///       type begins with `{`, `[` or `"`.
/// Memory:  the views live until `request` dies or the same thread calls again.
/// Errors:  kInvalidArgument with the place: `instances[2]: expected a text, found a number`.
/// Threads: any; each keeps a JSON parser of at most a few MiB.
Result<TextInput> ReadTexts(const Request& request, const TextLimits& limits);
/// The same checks for texts that came in a tensor; the views point into `texts`.
Result<TextInput> CheckTexts(const std::vector<std::string>& texts, std::string_view place,
                             const TextLimits& limits);

}  // namespace serve
