#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <boost/beast/http/basic_parser.hpp>

#include "serve/base/status.h"
#include "serve/http/http_message.h"
#include "serve/http/options.h"

namespace serve {

/// Reads the header block of one request into an HttpRequest, and then its chunked body if it has one.
///
/// The grammar is Beast's; what it lets pass and two servers in a row may understand differently is refused
/// here: folded lines, a Transfer-Encoding that is not exactly `chunked`, both or several lengths, no or
/// several Host fields. Fields are views into `request.head`: nothing is allocated for them.
///
/// Errors: kInvalidArgument (400), kHeaderTooLarge (431), kPayloadTooLarge (413); each says what to send
/// instead.
class HeadParser final : public boost::beast::http::basic_parser<true> {
 public:
  /// Both are borrowed and outlive the parser.
  HeadParser(HttpRequest& request, const HttpLimits& limits);

  /// Reads `request.head`, which is a whole header block with the empty line at its end.
  Status ParseHead();

  /// What PutChunked did with the bytes.
  struct Progress {
    std::size_t used = 0;
    bool done = false;
  };
  /// Reads a piece of the chunked body that follows the header; unused bytes are given again with more behind
  /// them.
  Result<Progress> PutChunked(const char* data, std::size_t size);
  /// The decoded body; complete after PutChunked said `done`.
  [[nodiscard]] const std::string& chunked_body() const { return body_; }

 private:
  using ErrorCode = boost::beast::error_code;
  using View = boost::beast::string_view;
  using FieldName = boost::beast::http::field;

  Status Refused(const ErrorCode& error) const;
  Status CheckHead();

  void on_request_impl(boost::beast::http::verb, View method, View target, int version, ErrorCode&) override;
  void on_response_impl(int, View, int, ErrorCode&) override {}
  void on_field_impl(FieldName, View name, View value, ErrorCode&) override;
  void on_header_impl(ErrorCode&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, ErrorCode&) override {}
  std::size_t on_body_impl(View, ErrorCode&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t size, View extension, ErrorCode&) override;
  std::size_t on_chunk_body_impl(std::uint64_t, View body, ErrorCode&) override;
  void on_finish_impl(ErrorCode&) override {}

  HttpRequest& request_;
  const HttpLimits& limits_;
  bool in_trailer_ = false;
  std::string body_;
  std::size_t chunked_bytes_ = 0;  // of the whole encoded body that was read
};

}  // namespace serve
