#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

#include "serve/base/status.h"
#include "serve/http/http_message.h"
#include "serve/http/options.h"
#include "serve/request/request.h"

namespace serve {

/// Takes the body of an HTTP request apart as its Content-Type says, and takes it over: values are views into
/// it.
///
/// multipart/form-data                one part a field; a repeated name keeps the last value
/// application/x-www-form-urlencoded  the same, decoded in place. A body that starts with `{` or `[` is JSON
/// that a
///                                    client sent under curl's default type, one without any `=` is plain
///                                    text: both are taken as raw bodies
/// everything else, or nothing        one part `body`, with the media type in lower case and without
/// parameters
///
/// A packed body (Content-Encoding) is unpacked first, see content_encoding.h.
/// Errors: kUnsupportedMedia for another Content-Encoding, kPayloadTooLarge when it unpacks to more than
/// max_body_bytes, kInvalidArgument for a malformed form or packed body; says what and where.
Result<Request> DecodeRequest(HttpRequest& request, const HttpLimits& limits);

/// The body as JSON of KServe's protocol, whatever its Content-Type says: clients of it send none, or curl's.
Result<Request> DecodeKServe(HttpRequest& request, const HttpLimits& limits, Protocol protocol);

/// Adds each value of the query string as a part of its name.
/// Errors: kInvalidArgument for a broken escape.
Status AddQueryParts(const HttpRequest& http, const HttpLimits& limits, Request& request);

/// A JSON object from a management request's body; null when the body is empty or of another type. Nesting is
/// limited to 64 levels before the parser sees it.
Status DecodeJsonObject(const HttpRequest& request, nlohmann::json& object);

}  // namespace serve
