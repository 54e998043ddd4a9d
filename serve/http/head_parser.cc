#include "serve/http/head_parser.h"

#include <algorithm>
#include <limits>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <fmt/format.h>

namespace serve {
namespace {

namespace http = boost::beast::http;

// Framing may take this much beside as many bytes as the data: 65,536 chunks of one byte each are the most.
constexpr std::size_t kFreeFraming = 256 * 1024;

Method ParseMethod(std::string_view text) {
  for (const Method method : {Method::kGet, Method::kPost, Method::kPut, Method::kDelete, Method::kHead,
                              Method::kOptions, Method::kPatch}) {
    if (text == MethodName(method)) return method;
  }
  return Method::kOther;
}

/// `http://host/path` means /path here: the absolute form, as proxies send it.
std::string_view WithoutAuthority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() >= scheme.size() && EqualsIgnoreCase(target.substr(0, scheme.size()), scheme)) {
      const std::size_t end = target.find_first_of("/?#", scheme.size());
      return end == std::string_view::npos ? std::string_view() : target.substr(end);
    }
  }
  return target;
}

bool IsAllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool IsSaneHost(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](char c) {
    return c > ' ' && c < 0x7F && c != '/' && c != ',' && c != '?' && c != '#' && c != '@' && c != '\\';
  });
}

}  // namespace

HeadParser::HeadParser(HttpRequest& request, const HttpLimits& limits) : request_(request), limits_(limits) {
  eager(true);
  body_limit(boost::none);  // checked here, where the message can name the setting
  header_limit((std::numeric_limits<std::uint32_t>::max)());  // the connection has counted
}

Status HeadParser::ParseHead() {
  // A line that starts with a blank continues the last one; servers disagree about what that means.
  const std::string_view head(request_.head.data(), request_.head.size());
  for (std::size_t end = head.find('\n'); end != std::string_view::npos; end = head.find('\n', end + 1)) {
    if (end + 1 < head.size() && (head[end + 1] == ' ' || head[end + 1] == '\t')) {
      return InvalidArgument("a header line starts with a blank: folded lines are not accepted");
    }
  }
  ErrorCode error;
  put(boost::asio::buffer(request_.head), error);
  if (error) return Refused(error);
  if (!is_header_done()) return InvalidArgument("the request header is malformed");
  return CheckHead();
}

Status HeadParser::CheckHead() {
  if (request_.fields.size() > limits_.max_header_fields) {
    return {Code::kHeaderTooLarge, fmt::format("the request has {} header fields, the limit is {}",
                                               request_.fields.size(), limits_.max_header_fields)};
  }
  std::size_t hosts = 0;
  std::size_t lengths = 0;
  std::size_t encodings = 0;
  std::string_view length;
  for (const HttpRequest::Field& field : request_.fields) {
    // By length first: most fields are none of the three.
    if (field.name.size() == 4 && EqualsIgnoreCase(field.name, "host")) {
      ++hosts;
      if (!IsSaneHost(field.value)) return InvalidArgument("the Host field is malformed");
    } else if (field.name.size() == 14 && EqualsIgnoreCase(field.name, "content-length")) {
      ++lengths;
      length = field.value;
    } else if (field.name.size() == 17 && EqualsIgnoreCase(field.name, "transfer-encoding")) {
      ++encodings;
      if (!EqualsIgnoreCase(field.value, "chunked")) {
        return InvalidArgument("the only Transfer-Encoding that is understood is `chunked`");
      }
    }
  }
  if (hosts > 1) return InvalidArgument("the request has several Host fields");
  if (hosts == 0 && !request_.http_1_0) return InvalidArgument("an HTTP/1.1 request needs a Host field");
  if (lengths + encodings > 1) {
    return InvalidArgument(
        "the request states its length twice: send one Content-Length or Transfer-Encoding");
  }
  if (encodings == 1 && request_.http_1_0) {
    return InvalidArgument("HTTP/1.0 has no Transfer-Encoding: send Content-Length");
  }
  if (lengths == 1) {
    if (!IsAllDigits(length)) return InvalidArgument("Content-Length is not a number");
    request_.content_length = *content_length();
  }
  request_.chunked = encodings == 1;
  request_.keep_alive = keep_alive();
  return {};
}

Result<HeadParser::Progress> HeadParser::PutChunked(const char* data, std::size_t size) {
  ErrorCode error;
  const std::size_t used = put(boost::asio::buffer(data, size), error);
  chunked_bytes_ += used;
  if (error == http::error::body_limit) {
    return Status{Code::kPayloadTooLarge, fmt::format("the request body is larger than the limit of {} bytes "
                                                      "(max_request_size)",
                                                      limits_.max_body_bytes)};
  }
  if (error && error != http::error::need_more) return Refused(error);
  if (chunked_bytes_ > kFreeFraming + 2 * body_.size()) {
    return InvalidArgument(
        "the chunks of the request body are too small: their framing is larger than the data");
  }
  return Progress{used, is_done()};
}

Status HeadParser::Refused(const ErrorCode& error) const {
  if (error == http::error::bad_method) return InvalidArgument("the request line has no valid method");
  if (error == http::error::bad_target)
    return InvalidArgument("the request target has a forbidden character");
  if (error == http::error::bad_version) {
    return InvalidArgument("the request line does not end in HTTP/1.1 or HTTP/1.0");
  }
  if (error == http::error::bad_field) {
    return InvalidArgument(
        "a header field has no valid name before its colon (a blank there is not allowed)");
  }
  if (error == http::error::bad_value) return InvalidArgument("a header field has a forbidden character");
  if (error == http::error::bad_line_ending) return InvalidArgument("a line does not end in CR LF");
  const bool both = error == http::error::bad_content_length && !in_trailer_ &&
                    request_.CountHeaders("transfer-encoding") > 0;
  if (error == http::error::bad_content_length && !both) {
    return InvalidArgument("Content-Length is not a usable number, or stands where it must not");
  }
  if (both || error == http::error::multiple_content_length || error == http::error::bad_transfer_encoding) {
    return InvalidArgument(
        "the request states its length twice: send one Content-Length or Transfer-Encoding");
  }
  if (error == http::error::bad_chunk || error == http::error::bad_chunk_extension) {
    return InvalidArgument("the chunked request body is malformed: a chunk does not start with its size");
  }
  return InvalidArgument("the request is malformed: " + error.message());
}

void HeadParser::on_request_impl(http::verb, View method, View target, int version, ErrorCode&) {
  request_.method_text = {method.data(), method.size()};
  request_.method = ParseMethod(request_.method_text);
  request_.target = {target.data(), target.size()};
  request_.http_1_0 = version == 10;
  std::string_view rest = WithoutAuthority(request_.target);
  rest = rest.substr(0, rest.find('#'));
  const std::size_t mark = rest.find('?');
  request_.path = rest.substr(0, mark);
  request_.query = mark == std::string_view::npos ? std::string_view() : rest.substr(mark + 1);
}

void HeadParser::on_field_impl(FieldName, View name, View value, ErrorCode&) {
  if (in_trailer_) return;  // nothing in a trailer may change what the header said
  request_.fields.push_back({{name.data(), name.size()}, {value.data(), value.size()}});
}

void HeadParser::on_chunk_header_impl(std::uint64_t size, View, ErrorCode& error) {
  if (size == 0) in_trailer_ = true;
  if (size > limits_.max_body_bytes - body_.size()) error = http::error::body_limit;
}

std::size_t HeadParser::on_chunk_body_impl(std::uint64_t, View body, ErrorCode&) {
  const std::size_t needed = body_.size() + body.size();
  if (needed > body_.capacity()) {
    // Doubling, but never past the limit: what a client can make us hold is the limit, not twice of it.
    body_.reserve(std::max(needed, std::min(2 * body_.capacity(), limits_.max_body_bytes)));
  }
  body_.append(body.data(), body.size());
  return body.size();
}

}  // namespace serve
