#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/buffer.h"
#include "serve/base/status.h"
#include "serve/request/request.h"

namespace serve {

enum class Method : std::uint8_t { kGet, kHead, kPost, kPut, kDelete, kOptions, kPatch, kOther };
std::string_view MethodName(Method method);

/// One request as it came from the wire. A connection keeps one and uses its memory again for the next
/// request, so a route that answers later takes what it needs (moves the body, copies the rest) before it
/// returns, or calls TakeCopy().
struct HttpRequest {
  struct Field {
    std::string_view name;
    std::string_view value;  // without blanks around it
  };
  struct Parameter {
    std::string_view name;  // points into the route
    std::string value;      // percent-decoded
  };

  std::vector<char> head;  // the bytes that the views below point to
  Method method = Method::kGet;
  std::string_view method_text;
  std::string_view target;  // as sent
  std::string_view path;    // without scheme, authority, query and fragment; not decoded
  std::string_view query;   // what follows the first `?`; not decoded
  bool http_1_0 = false;
  bool keep_alive = true;
  bool chunked = false;
  std::optional<std::uint64_t> content_length;
  std::vector<Field> fields;
  Buffer body;
  TimePoint arrival;       // of the end of the header
  std::string request_id;  // the client's, or a new one

  std::array<Parameter, 3>
      parameters;  // what the route's `{name}` segments matched; unused ones have no name

  /// The value of the first field of this name (any case); empty when there is none.
  [[nodiscard]] std::string_view Header(std::string_view name) const;
  [[nodiscard]] std::size_t CountHeaders(std::string_view name) const;
  /// What `{name}` of the route matched; empty when the route has no such segment.
  [[nodiscard]] const std::string& PathParameter(std::string_view name) const;
  /// Everything, with memory of its own; the body is moved.
  HttpRequest TakeCopy();
  /// Forgets the last request, keeps the memory.
  void Clear();
};

/// One answer before it is written. Content-Length, Connection and X-Request-Id are the connection's
/// business.
struct HttpReply {
  int status = 200;
  std::string body;
  std::string_view content_type = "application/json";  // a literal
  std::string extra_fields;                            // whole lines: "Retry-After: 1\r\n"
  bool close = false;                                  // close the connection after it
};

/// The error body that every API of the server answers with: {code, type, message}, TorchServe's layout.
/// A full queue, and a model that is still loading, also say when to come back (Retry-After).
HttpReply ErrorReply(const Status& status);
/// The same for what has no Code of its own (417).
HttpReply ErrorReply(int http, std::string_view type, std::string_view message);

/// "Not Found" of 404.
std::string_view ReasonPhrase(int status);
/// Status line, fields and the empty line. `body_bytes` is what Content-Length says.
void AppendHead(std::string& out, const HttpReply& reply, std::string_view request_id, std::size_t body_bytes,
                bool close, bool http_1_0);

/// The same for a body of chunks.
void AppendChunkedHead(std::string& out, const HttpReply& reply, std::string_view request_id, bool close);

/// `text` between quotes as JSON: control characters escaped, invalid UTF-8 replaced by U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);
bool EqualsIgnoreCase(std::string_view left, std::string_view right);
std::string_view TrimBlanks(std::string_view text);

/// May a client's id be echoed: 1 to 128 visible ASCII characters without quotes, backslash and comma.
bool IsSaneRequestId(std::string_view id);

}  // namespace serve
