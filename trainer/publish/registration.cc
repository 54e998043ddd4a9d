#include "trainer/publish/registration.h"

#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/http_client/http_client.h"

namespace serve::trainer {
namespace {

constexpr std::chrono::milliseconds kLoadTimeout{180'000};
constexpr std::size_t kShownAnswer = 1000;

/// The server's own words: `status` or `message` of its JSON, else the body.
std::string Words(const HttpAnswer& answer) {
  const nlohmann::json body = nlohmann::json::parse(answer.body, nullptr, false);
  for (const char* key : {"status", "message"}) {
    if (body.is_object() && body.contains(key) && body[key].is_string()) return body[key].get<std::string>();
  }
  return answer.body.substr(0, kShownAnswer);
}

Result<std::string> Call(std::string method, std::string url) {
  HttpCall call;
  call.method = std::move(method);
  call.url = std::move(url);
  call.timeout = kLoadTimeout;
  const Result<HttpAnswer> answer = CallHttp(call);
  if (!answer) return answer.error();
  if (answer->status < 200 || answer->status > 299) {
    return InvalidArgument(fmt::format("the server refused ({}): {}", answer->status, Words(*answer)));
  }
  return Words(*answer);
}

}  // namespace

Result<std::string> RegisterModel(const Registration& registration) {
  std::string base = registration.management;
  while (base.ends_with('/')) base.pop_back();
  Result<std::string> said =
      Call("POST", fmt::format("{}/models?url={}&initial_workers={}&synchronous=true", base,
                               UrlEncode(registration.archive.filename().string()), registration.workers));
  if (!said || !registration.set_default) return said;
  const Result<std::string> changed =
      Call("PUT", fmt::format("{}/models/{}/{}/set-default", base, UrlEncode(registration.name),
                              UrlEncode(registration.version)));
  if (!changed) return changed.error();
  return *said + "\n" + *changed;
}

std::string RegisterCommand(const Registration& registration) {
  return fmt::format("flambeau models register {} --management {}", registration.archive.filename().string(),
                     registration.management.empty() ? "http://127.0.0.1:8081" : registration.management);
}

}  // namespace serve::trainer
