#include "serve/http/http_message.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "serve/api/wire_codes.h"
#include "serve/base/hex.h"
#include "serve/request/sequence.h"

namespace serve {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

/// Length of the valid UTF-8 sequence at the front of `text`; 0 when it is not one.
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    if (first == 0xE0) low = 0xA0;   // overlong
    if (first == 0xED) high = 0x9F;  // surrogates
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    if (first == 0xF0) low = 0x90;   // overlong
    if (first == 0xF4) high = 0x8F;  // beyond U+10FFFF
  }
  if (length == 0 || text.size() < length) return 0;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

void AppendNumber(std::string& out, std::uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out.append(digits, end);
}

}  // namespace

std::string_view MethodName(Method method) {
  switch (method) {
    case Method::kGet:
      return "GET";
    case Method::kHead:
      return "HEAD";
    case Method::kPost:
      return "POST";
    case Method::kPut:
      return "PUT";
    case Method::kDelete:
      return "DELETE";
    case Method::kOptions:
      return "OPTIONS";
    case Method::kPatch:
      return "PATCH";
    case Method::kOther:
      break;
  }
  return "";
}

std::string_view HttpRequest::Header(std::string_view name) const {
  for (const Field& field : fields) {
    if (EqualsIgnoreCase(field.name, name)) return field.value;
  }
  return {};
}

std::size_t HttpRequest::CountHeaders(std::string_view name) const {
  return static_cast<std::size_t>(std::count_if(
      fields.begin(), fields.end(), [&](const Field& field) { return EqualsIgnoreCase(field.name, name); }));
}

const std::string& HttpRequest::PathParameter(std::string_view name) const {
  static const std::string kNone;
  for (const Parameter& parameter : parameters) {
    if (parameter.name == name) return parameter.value;
  }
  return kNone;
}

HttpRequest HttpRequest::TakeCopy() {
  HttpRequest copy;
  copy.head = head;
  const auto moved = [&](std::string_view view) {
    if (view.empty()) return std::string_view();
    return std::string_view(copy.head.data() + (view.data() - head.data()), view.size());
  };
  copy.method = method;
  copy.method_text = moved(method_text);
  copy.target = moved(target);
  copy.path = moved(path);
  copy.query = moved(query);
  copy.http_1_0 = http_1_0;
  copy.keep_alive = keep_alive;
  copy.chunked = chunked;
  copy.content_length = content_length;
  copy.fields.reserve(fields.size());
  for (const Field& field : fields) copy.fields.push_back({moved(field.name), moved(field.value)});
  copy.body = std::move(body);
  copy.arrival = arrival;
  copy.request_id = request_id;
  copy.parameters = parameters;
  return copy;
}

void HttpRequest::Clear() {
  head.clear();
  method = Method::kGet;
  method_text = target = path = query = {};
  http_1_0 = false;
  keep_alive = true;
  chunked = false;
  content_length.reset();
  fields.clear();
  body = Buffer();
  request_id.clear();
  for (Parameter& parameter : parameters) {
    parameter.name = {};
    parameter.value.clear();
  }
}

HttpReply ErrorReply(int http, std::string_view type, std::string_view message) {
  HttpReply reply;
  reply.status = http;
  reply.body.reserve(64 + type.size() + message.size());
  reply.body += "{\n  \"code\": ";
  AppendNumber(reply.body, static_cast<std::uint64_t>(http));
  reply.body += ",\n  \"type\": ";
  AppendJsonString(reply.body, type);
  reply.body += ",\n  \"message\": ";
  AppendJsonString(reply.body, message);
  reply.body += "\n}\n";
  return reply;
}

HttpReply ErrorReply(const Status& status) {
  const WireCode& wire = ToWire(status.code);
  HttpReply reply = ErrorReply(wire.http, wire.type, status.message);
  if (status.code == Code::kResourceExhausted || status.retry_after > 0) {
    reply.extra_fields = "Retry-After: ";
    AppendNumber(reply.extra_fields, static_cast<std::uint64_t>(std::max(status.retry_after, 1)));
    reply.extra_fields += "\r\n";
  }
  return reply;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 206:
      return "Partial Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 507:
      return "Insufficient Storage";
    default:
      return "";
  }
}

namespace {

/// Everything but what says how long the body is, and what becomes of the connection.
void AppendFields(std::string& out, const HttpReply& reply, std::string_view request_id) {
  if (reply.status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    AppendNumber(out, static_cast<std::uint64_t>(reply.status));
    out += ' ';
    out += ReasonPhrase(reply.status);
    out += "\r\n";
  }
  if (!reply.content_type.empty()) {
    out += "content-type: ";
    out += reply.content_type;
    out += "\r\n";
  }
  if (!request_id.empty()) {
    out += "x-request-id: ";
    out += request_id;
    out += "\r\n";
  }
  out += reply.extra_fields;
}

}  // namespace

void AppendChunkedHead(std::string& out, const HttpReply& reply, std::string_view request_id, bool close) {
  AppendFields(out, reply, request_id);
  out += close ? "transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
               : "transfer-encoding: chunked\r\n\r\n";
}

void AppendHead(std::string& out, const HttpReply& reply, std::string_view request_id, std::size_t body_bytes,
                bool close, bool http_1_0) {
  AppendFields(out, reply, request_id);
  out += "content-length: ";
  AppendNumber(out, body_bytes);
  if (close) {
    out += "\r\nconnection: close\r\n\r\n";
  } else if (http_1_0) {
    out += "\r\nconnection: keep-alive\r\n\r\n";
  } else {
    out += "\r\n\r\n";
  }
}

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t length = Utf8Length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD
      text.remove_prefix(1);
      continue;
    }
    const char c = text[0];
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)) {
          out += "\\u00";
          out += Hex(text.substr(0, 1));
        } else {
          out += text.substr(0, length);
        }
    }
    text.remove_prefix(length);
  }
  out += '"';
}

bool EqualsIgnoreCase(std::string_view left, std::string_view right) {
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (left[i] != right[i] && Lower(left[i]) != Lower(right[i])) return false;
  }
  return true;
}

std::string_view TrimBlanks(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool IsSaneRequestId(std::string_view id) { return !id.empty() && IsSequenceId(id); }

}  // namespace serve
