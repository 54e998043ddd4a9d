#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "model_store/http_client/http_client.h"

namespace serve {

struct AwsCredentials {
  std::string access_key;
  std::string secret_key;
  std::string session_token;  // of temporary ones
  std::string from;           // where they were found, for messages
};

/// A GET request without a body that is to be signed.
struct AwsRequest {
  std::string host;     // with the port where it is in the URL
  std::string path;     // as it is sent: percent-encoded once
  std::string query{};  // likewise, sorted by name
  HttpHeaders
      headers{};  // to be signed, besides host, x-amz-date, x-amz-content-sha256, x-amz-security-token
};

/// The headers that Signature Version 4 adds to the request, `authorization` among them. Source: AWS General
/// Reference, "Signature Version 4".
HttpHeaders SignAwsRequest(const AwsRequest& request, const AwsCredentials& credentials,
                           std::string_view region, std::string_view service,
                           std::chrono::system_clock::time_point now);

}  // namespace serve
