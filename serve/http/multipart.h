#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

struct MultipartPart {
  std::string_view name;
  std::string_view content_type;  // without parameters, as sent; empty when the part names none
  bool has_file_name = false;
  std::string_view value;
};

/// Takes a multipart/form-data body apart: views into `body`, no copies.
///
/// Strict: lines end in CR LF, every part has a Content-Disposition with a name, the closing boundary is
/// there. Limits: at most `max_parts` parts, 4 KB of header in each. Errors: kInvalidArgument; says which
/// part is wrong and how. Source: RFC 7578, RFC 2046 5.1.
Result<std::vector<MultipartPart>> ParseMultipart(std::string_view body, std::string_view boundary,
                                                  std::size_t max_parts);

/// The value of a parameter of a header field, `boundary` in `multipart/form-data; boundary="x"`; quotes are
/// taken off. Empty when it is missing or malformed.
std::string_view FieldParameter(std::string_view field, std::string_view name);

}  // namespace serve
