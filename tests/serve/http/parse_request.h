#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "serve/http/head_parser.h"

namespace serve {

/// A request as the connection hands it to a route.
inline HttpRequest ParseRequest(std::string_view head, std::string_view body = "") {
  HttpRequest request;
  request.head.assign(head.begin(), head.end());
  const HttpLimits limits;
  const Status status = HeadParser(request, limits).ParseHead();
  if (!status.ok()) throw std::runtime_error(status.message);
  request.body = Buffer(body);
  return request;
}

/// POST with these fields (whole lines).
inline HttpRequest PostRequest(std::string_view target, std::string_view fields, std::string_view body) {
  return ParseRequest(
      "POST " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n" + std::string(fields) + "\r\n", body);
}

}  // namespace serve
