#include "tools/cli/api_client.h"

#include <algorithm>
#include <istream>
#include <ostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/manifest.h"
#include "serve/base/files.h"

namespace serve {
namespace {

constexpr std::uint64_t kMostKeyBytes = 1U << 20;

std::string JoinUrl(std::string base, const std::string& path) {
  while (base.ends_with('/')) base.pop_back();
  if (base.find("://") == std::string::npos) base.insert(0, "http://");
  return base + path;
}

/// `message` of an error body, else what the body begins with.
std::string ServerMessage(const HttpAnswer& answer) {
  const auto body = nlohmann::json::parse(answer.body, nullptr, false);
  if (body.is_object() && body.contains("message") && body["message"].is_string()) {
    return body["message"].get<std::string>();
  }
  if (answer.body.empty()) return fmt::format("the server answered {} without a reason", answer.status);
  return fmt::format("the server answered {}: {}", answer.status, answer.body.substr(0, 300));
}

}  // namespace

Result<ModelName> ParseModelName(const std::string& text, const std::string& version_flag) {
  const std::size_t colon = text.find(':');
  ModelName name{text.substr(0, colon), colon == std::string::npos ? "" : text.substr(colon + 1)};
  if (colon != std::string::npos && name.version.empty()) {
    return InvalidArgument(fmt::format("\"{}\": a version must follow the colon", text));
  }
  if (!version_flag.empty()) {
    if (!name.version.empty() && name.version != version_flag) {
      return InvalidArgument(fmt::format("two versions are given: {} and {}", name.version, version_flag));
    }
    name.version = version_flag;
  }
  if (name.model.empty()) return InvalidArgument("the model's name is empty");
  return name;
}

std::string ApiPath(const std::vector<std::string>& segments, const QueryItems& query) {
  std::string path;
  for (const std::string& segment : segments) {
    if (!segment.empty()) path.append(1, '/').append(UrlEncode(segment));
  }
  char separator = '?';
  for (const auto& [name, value] : query) {
    path += fmt::format("{}{}={}", separator, UrlEncode(name), UrlEncode(value));
    separator = '&';
  }
  return path;
}

std::chrono::milliseconds ApiClient::Timeout() const {
  return std::chrono::milliseconds(std::max<long long>(1, static_cast<long long>(options_.timeout_s * 1000)));
}

Result<HttpAnswer> ApiClient::Management(const std::string& method, const std::string& path,
                                         std::string body) const {
  HttpCall call;
  call.method = method;
  call.url = JoinUrl(options_.management, path);
  if (!body.empty()) call.headers.emplace_back("Content-Type", "application/json");
  call.body = std::move(body);
  call.tls = options_.tls;
  call.timeout = Timeout();
  if (Status status = AddToken("management", call.headers); !status.ok()) return status;
  return CallHttp(call);
}

Status ApiClient::AddToken(const char* api, HttpHeaders& headers) const {
  std::string token = options_.token;
  if (token.empty()) {
    const bool named = !options_.key_file.empty();
    const std::string path = named ? options_.key_file : "key_file.json";
    const Result<std::string> text = ReadFile(path, kMostKeyBytes);
    if (!text && !named) return {};
    if (!text) {
      return {text.error().code, fmt::format("cannot read the key file {}: {}", path, text.error().message)};
    }
    const auto keys = nlohmann::json::parse(*text, nullptr, false);
    if (keys.is_object() && keys.contains(api) && keys[api].is_object()) token = keys[api].value("key", "");
    if (token.empty()) {
      if (!named) return {};
      return {Code::kNotFound, fmt::format("the key file {} holds no key of the {} API", path, api)};
    }
  }
  headers.emplace_back("Authorization", "Bearer " + token);
  return {};
}

Result<HttpAnswer> ApiClient::Inference(const std::string& path, std::string body, HttpHeaders headers,
                                        std::chrono::milliseconds timeout) const {
  HttpCall call;
  call.method = "POST";
  call.url = JoinUrl(options_.inference, path);
  call.body = std::move(body);
  call.headers = std::move(headers);
  call.tls = options_.tls;
  call.timeout = std::max(Timeout(), timeout);
  call.max_response_bytes = std::size_t{1} << 30;
  if (Status status = AddToken("inference", call.headers); !status.ok()) return status;
  return CallHttp(call);
}

Result<HttpAnswer> ApiClient::Get(const std::string& base, const std::string& path, const char* api,
                                  std::chrono::milliseconds timeout) const {
  HttpCall call;
  call.url = JoinUrl(base, path);
  call.tls = options_.tls;
  call.timeout = timeout;
  call.connect_timeout = std::min(call.connect_timeout, timeout);
  if (*api != '\0') {
    if (Status status = AddToken(api, call.headers); !status.ok()) return status;
  }
  return CallHttp(call);
}

int ApiClient::Fail(const Status& status) const {
  err() << "error: " << status.message << "\n";
  return status.code == Code::kUnavailable ? kToolNoConnection : kToolFailed;
}

int ApiClient::Check(const Result<HttpAnswer>& answer, std::string_view hint) const {
  if (!answer) return Fail(answer.error());
  if (answer->status < 400) return kToolDone;
  if (json()) PrintBody(*answer);
  err() << "error: " << ServerMessage(*answer);
  if (answer->status == 404 && !hint.empty()) err() << "\nhint: " << hint;
  if (answer->status == 401) err() << "\nhint: name a key with --token, FLAMBEAU_TOKEN or --key-file";
  err() << "\n";
  return kToolFailed;
}

int ApiClient::PrintStatus(const Result<HttpAnswer>& answer, std::string_view hint) const {
  if (const int code = Check(answer, hint); code != kToolDone) return code;
  const auto body = nlohmann::json::parse(answer->body, nullptr, false);
  if (!json() && body.is_object() && body.contains("status") && body["status"].is_string()) {
    out() << body["status"].get<std::string>() << "\n";
  } else {
    PrintBody(*answer);
  }
  return kToolDone;
}

void ApiClient::PrintBody(const HttpAnswer& answer) const {
  out() << answer.body;
  const std::string_view type = answer.Header("content-type");
  const bool is_text =
      type.empty() || type.starts_with("text/") || type.find("json") != std::string_view::npos;
  if (is_text && !answer.body.empty() && answer.body.back() != '\n') out() << "\n";
}

}  // namespace serve
