#include "model_store/sources/aws_signature.h"

#include <algorithm>
#include <cctype>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "model_store/archive/sha256.h"
#include "serve/base/hex.h"

namespace serve {
namespace {

std::string Hmac(std::string_view key, std::string_view text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
  return {reinterpret_cast<const char*>(digest), size};
}

}  // namespace

HttpHeaders SignAwsRequest(const AwsRequest& request, const AwsCredentials& credentials,
                           std::string_view region, std::string_view service,
                           std::chrono::system_clock::time_point now) {
  const std::tm utc = fmt::gmtime(std::chrono::system_clock::to_time_t(now));
  const std::string time = fmt::format("{:%Y%m%dT%H%M%SZ}", utc);
  const std::string scope = fmt::format("{:%Y%m%d}/{}/{}/aws4_request", utc, region, service);
  const std::string payload = Sha256OfBytes("");

  HttpHeaders added = {{"x-amz-content-sha256", payload}, {"x-amz-date", time}};
  if (!credentials.session_token.empty())
    added.emplace_back("x-amz-security-token", credentials.session_token);
  HttpHeaders all = added;
  all.emplace_back("host", request.host);
  for (const auto& [name, value] : request.headers) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    all.emplace_back(std::move(lower), value);
  }
  std::sort(all.begin(), all.end());
  std::string lines;
  std::string names;
  for (const auto& [name, value] : all) {
    lines += fmt::format("{}:{}\n", name, value);
    names += (names.empty() ? "" : ";") + name;
  }
  const std::string canonical =
      fmt::format("GET\n{}\n{}\n{}\n{}\n{}", request.path, request.query, lines, names, payload);
  const std::string to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", time, scope, Sha256OfBytes(canonical));
  std::string key = "AWS4" + credentials.secret_key;
  for (const std::string_view part :
       {std::string_view(scope).substr(0, 8), region, service, std::string_view("aws4_request")}) {
    key = Hmac(key, part);
  }
  added.emplace_back("authorization",
                     fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                 credentials.access_key, scope, names, Hex(Hmac(key, to_sign))));
  return added;
}

}  // namespace serve
