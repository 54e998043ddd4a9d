#include "model_store/sources/gcs.h"

#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/http_client/http_client.h"
#include "model_store/sources/aws_credentials.h"
#include "model_store/sources/google_credentials.h"
#include "model_store/sources/s3.h"

namespace serve {
namespace {

/// The requests of one object, with what may change while it is fetched.
class GcsRequest {
 public:
  GcsRequest(ObjectUri object, bool emulator, std::string base, GoogleToken token)
      : object_(std::move(object)), emulator_(emulator), base_(std::move(base)), token_(std::move(token)) {}

  Result<GetCall> Make() {
    if (stale_ || (!token_.token.empty() && std::chrono::steady_clock::now() >= token_.expires)) {
      stale_ = false;
      Result<GoogleToken> fresh = FindGoogleToken(emulator_);
      if (!fresh) return fresh.error();
      token_ = *std::move(fresh);
    }
    GetCall call;
    call.url = fmt::format("{}/storage/v1/b/{}/o/{}?alt=media{}", base_, UrlEncode(object_.bucket),
                           UrlEncode(object_.key), generation_);
    if (!token_.token.empty()) call.headers.emplace_back("Authorization", "Bearer " + token_.token);
    return call;
  }

  /// A token may be withdrawn early: a new one is asked for, once.
  bool Correct(const GetAnswer& got) {
    if (got.answer.status != 401 || token_.token.empty() || std::exchange(renewed_, true)) return false;
    return stale_ = true;
  }

  /// All ranges are of one generation, whatever is written meanwhile.
  void Pin(const HttpAnswer& head) {
    const std::string_view generation = head.Header("x-goog-generation");
    if (!generation.empty() && generation.find_first_not_of("0123456789") == std::string_view::npos) {
      generation_ = fmt::format("&generation={}", generation);
    }
  }

  [[nodiscard]] std::string Explain(const GetAnswer& got) const {
    const int status = got.answer.status;
    std::string said = fmt::format("status {}", status);
    const nlohmann::json json = nlohmann::json::parse(got.answer.body, nullptr, false);
    std::string message = got.answer.body.substr(0, 300);
    if (json.is_object() && json.contains("error") && json["error"].is_object()) {
      const auto& text = json["error"].find("message");
      if (text != json["error"].end() && text->is_string()) message = text->get<std::string>();
    }
    if (!message.empty()) said += ", " + message;
    if (token_.token.empty() && (status == 401 || status == 403)) {
      return fmt::format("it is not public, and there are no credentials; looked at: {} ({})", token_.from,
                         said);
    }
    switch (status) {
      case 401:
        return fmt::format(
            "the token of {} is not accepted: it has expired, or the clock of this machine is "
            "wrong ({})",
            token_.from, said);
      case 403:
        return fmt::format(
            "{} may not read it: it needs storage.objects.get, as in roles/storage.objectViewer ({})",
            token_.from, said);
      case 404:
        if (message.find("bucket does not exist") != std::string::npos) {
          return fmt::format("there is no bucket {} ({})", object_.bucket, said);
        }
        return fmt::format("there is no object {} in the bucket {} ({})", object_.key, object_.bucket, said);
      default:
        return said;
    }
  }

 private:
  const ObjectUri object_;
  const bool emulator_;
  const std::string base_;
  GoogleToken token_;
  std::string generation_;
  bool stale_ = false;
  bool renewed_ = false;
};

}  // namespace

Result<DownloadPlan> GcsPlan(const std::string& uri) {
  Result<ObjectUri> object = ParseObjectUri(uri);
  if (!object) return object.error();
  std::string base = EnvironmentValue("STORAGE_EMULATOR_HOST");
  const bool emulator = !base.empty();
  if (!emulator) base = "https://storage.googleapis.com";
  if (base.find("://") == std::string::npos) base = "http://" + base;
  while (base.ends_with('/')) base.pop_back();
  Result<GoogleToken> token = FindGoogleToken(emulator);
  if (!token) return DownloadFailed(uri, token.error().message);
  const auto request =
      std::make_shared<GcsRequest>(*std::move(object), emulator, std::move(base), *std::move(token));
  DownloadPlan plan;
  plan.shown = uri;
  plan.request = [request] { return request->Make(); };
  plan.explain = [request](const GetAnswer& got) { return request->Explain(got); };
  plan.correct = [request](const GetAnswer& got) { return request->Correct(got); };
  plan.pin = [request](const HttpAnswer& head) { request->Pin(head); };
  return plan;
}

}  // namespace serve
