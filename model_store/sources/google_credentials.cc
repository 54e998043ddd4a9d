#include "model_store/sources/google_credentials.h"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "model_store/http_client/http_client.h"
#include "model_store/sources/aws_credentials.h"
#include "serve/base/files.h"

namespace serve {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMostKeyBytes = 1U << 20;
constexpr std::string_view kTokenUrl = "https://oauth2.googleapis.com/token";
constexpr std::string_view kScope = "https://www.googleapis.com/auth/devstorage.read_only";

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};

std::string Text(const Json& json, const char* key, std::string_view otherwise = {}) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string(otherwise);
}

/// Base64 for URLs, without padding.
std::string Base64Url(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

/// RS256. Empty: the key is none.
std::string SignWithRsa(const std::string& pem, std::string_view text) {
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const std::unique_ptr<EVP_PKEY, FreeKey> key(
      bio == nullptr ? nullptr : PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  std::size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (key == nullptr || context == nullptr ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) {
    return {};
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes,
                     text.size()) != 1) {
    return {};
  }
  signature.resize(size);
  return signature;
}

/// What a token's server or the metadata service says.
Result<GoogleToken> ReadToken(const Result<HttpAnswer>& answer, const std::string& from) {
  if (!answer) return answer.error();
  const Json json = Json::parse(answer->body, nullptr, false);
  if (answer->status != 200 || !json.is_object() || Text(json, "access_token").empty()) {
    std::string said = fmt::format("status {}", answer->status);
    if (json.is_object()) said += fmt::format(" {} {}", Text(json, "error"), Text(json, "error_description"));
    return Status{Code::kUnauthenticated, fmt::format("{} got no access token: {}", from, said)};
  }
  GoogleToken token{Text(json, "access_token"), from};
  const std::int64_t seconds = json.value("expires_in", Json(3600)).is_number_integer()
                                   ? json.value("expires_in", std::int64_t{3600})
                                   : 3600;
  token.expires = std::chrono::steady_clock::now() + std::chrono::seconds(seconds - 60);
  return token;
}

Result<GoogleToken> AskForToken(const std::string& url, const std::string& form, const std::string& from) {
  HttpCall call;
  call.method = "POST";
  call.url = url;
  call.body = form;
  call.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
  call.timeout = std::chrono::seconds(20);
  return ReadToken(CallHttp(call), from);
}

Result<GoogleToken> FromFile(const std::string& file) {
  const Result<std::string> text = ReadFile(file, kMostKeyBytes);
  if (!text) return InvalidArgument(fmt::format("{} cannot be read: {}", file, text.error().message));
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object()) return InvalidArgument(fmt::format("{} is no JSON object", file));
  const std::string type = Text(json, "type");
  const std::string url = Text(json, "token_uri", kTokenUrl);
  if (type == "authorized_user") {
    return AskForToken(url,
                       fmt::format("grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
                                   UrlEncode(Text(json, "client_id")), UrlEncode(Text(json, "client_secret")),
                                   UrlEncode(Text(json, "refresh_token"))),
                       fmt::format("the user of {}", file));
  }
  if (type != "service_account") {
    return InvalidArgument(fmt::format(
        "{}: credentials of the type \"{}\" are not supported, only service_account and authorized_user; "
        "or set GOOGLE_OAUTH_ACCESS_TOKEN",
        file, type));
  }
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const Json claims = {{"iss", Text(json, "client_email")},
                       {"scope", kScope},
                       {"aud", url},
                       {"iat", now},
                       {"exp", now + 3600}};
  const Json header = {{"alg", "RS256"}, {"typ", "JWT"}, {"kid", Text(json, "private_key_id")}};
  const std::string signed_part = Base64Url(header.dump()) + "." + Base64Url(claims.dump());
  const std::string signature = SignWithRsa(Text(json, "private_key"), signed_part);
  if (signature.empty()) return InvalidArgument(fmt::format("{}: its private_key is no RSA key", file));
  return AskForToken(
      url,
      fmt::format("grant_type={}&assertion={}.{}", UrlEncode("urn:ietf:params:oauth:grant-type:jwt-bearer"),
                  signed_part, Base64Url(signature)),
      fmt::format("the service account {} of {}", Text(json, "client_email"), file));
}

std::optional<GoogleToken> FromMetadata(const std::string& host) {
  HttpCall call;
  call.url = fmt::format("http://{}/computeMetadata/v1/instance/service-accounts/default/token", host);
  call.headers = {{"Metadata-Flavor", "Google"}};
  call.connect_timeout = call.timeout = std::chrono::seconds(1);
  call.use_proxy = false;
  call.max_response_bytes = 64U << 10;
  Result<GoogleToken> token = ReadToken(CallHttp(call), "the machine's service account");
  if (!token) return std::nullopt;
  return *std::move(token);
}

}  // namespace

Result<GoogleToken> FindGoogleToken(bool explicit_only) {
  if (std::string token = EnvironmentValue("GOOGLE_OAUTH_ACCESS_TOKEN"); !token.empty()) {
    return GoogleToken{std::move(token), "GOOGLE_OAUTH_ACCESS_TOKEN"};
  }
  GoogleToken none;
  none.from = "GOOGLE_OAUTH_ACCESS_TOKEN and GOOGLE_APPLICATION_CREDENTIALS: not set";
  if (const std::string file = EnvironmentValue("GOOGLE_APPLICATION_CREDENTIALS"); !file.empty()) {
    return FromFile(file);
  }
  const std::string usual = EnvironmentValue("HOME") + "/.config/gcloud/application_default_credentials.json";
  if (!explicit_only) {
    if (std::ifstream(usual).is_open()) return FromFile(usual);
    none.from += fmt::format("; {}: no such file", usual);
  }
  std::string host = EnvironmentValue("GCE_METADATA_HOST");
  if (host.empty() && !explicit_only && EnvironmentValue("NO_GCE_CHECK") != "true") {
    host = "metadata.google.internal";
  }
  if (host.empty()) return none;
  if (std::optional<GoogleToken> token = FromMetadata(host)) return *std::move(token);
  none.from += fmt::format("; the metadata service {}: no token", host);
  return none;
}

}  // namespace serve
