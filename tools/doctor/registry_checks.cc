#include <chrono>
#include <cmath>
#include <ctime>
#include <string>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "model_store/mlflow/connection.h"
#include "model_store/sources/aws_credentials.h"
#include "model_store/sources/google_credentials.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

constexpr std::chrono::milliseconds kPatience{10'000};
constexpr double kSecondsApart = 30;  // signed requests and short-lived tokens allow a few minutes

bool UsesRegistry(const Place& place) {
  return !place.options.follow.models.empty() || place.UsesSource("models:") || place.UsesSource("runs:") ||
         place.UsesSource("mlflow-artifacts:");
}

/// Settings that answer soon instead of trying for minutes.
Result<MlflowSettings> Impatient() {
  Result<MlflowSettings> settings = MlflowSettingsOf();
  if (!settings) return settings;
  settings->max_retries = 0;
  settings->timeout = kPatience;
  settings->connect_timeout = kPatience / 2;
  return settings;
}

Result<HttpAnswer> Ask(const MlflowConnection& mlflow, const std::string& path) {
  HttpCall call;
  call.url = mlflow.base() + path;
  call.headers = mlflow.Authorization();
  call.tls = mlflow.settings().tls;
  call.timeout = mlflow.settings().timeout;
  call.connect_timeout = mlflow.settings().connect_timeout;
  call.start_advice = "look whether MLflow runs there";
  return CallHttp(call);
}

Finding WrongOrDoubtful(const Place& place, std::string found, std::string advice) {
  Finding finding = Wrong(std::move(found), std::move(advice));
  if (place.options.follow.models.empty()) finding.verdict = Verdict::kWarning;
  return finding;
}

}  // namespace

Findings CheckMlflow(const Place& place) {
  if (place.Variable("MLFLOW_TRACKING_URI").empty() && !UsesRegistry(place)) return {};
  const Result<MlflowSettings> settings = Impatient();
  if (!settings) {
    return {
        WrongOrDoubtful(place, settings.error().message,
                        "MLFLOW_TRACKING_URI says where the registry is; docs/training.md has the others")};
  }
  const MlflowConnection mlflow(*settings);
  const Result<HttpAnswer> health = Ask(mlflow, "/health");
  if (!health) {
    const bool tls = health.error().code == Code::kPermissionDenied;
    return {WrongOrDoubtful(place, health.error().message,
                            tls ? "name its authority with MLFLOW_TRACKING_SERVER_CERT_PATH"
                                : "look at MLFLOW_TRACKING_URI, the network, and whether MLflow runs")};
  }
  if (health->status >= 400) {
    return {WrongOrDoubtful(place, fmt::format("{}/health answers {}", mlflow.base(), health->status),
                            "is this an MLflow server? look at MLFLOW_TRACKING_URI")};
  }
  const Result<HttpAnswer> version = Ask(mlflow, "/version");
  nlohmann::json answer;
  const Status allowed = mlflow.Get("registered-models/search", {{"max_results", "1"}}, answer);
  if (!allowed.ok()) {
    return {WrongOrDoubtful(place, allowed.message,
                            "look at MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN")};
  }
  return {Fine(fmt::format("{} answers (MLflow {}); its registry lets us read", mlflow.base(),
                           version && version->status < 400 ? version->body.substr(0, 20) : "?"))};
}

Findings CheckObjectStores(const Place& place) {
  Findings findings;
  if (place.UsesSource("s3:")) {
    const Result<AwsCredentials> found = FindAwsCredentials();
    findings.push_back(
        found ? Fine(fmt::format("s3: credentials were found; region {}", FindAwsRegion()))
              : Doubtful("s3: " + found.error().message, "docs/sources.md says where they may be"));
  }
  if (place.UsesSource("gs:")) {
    const Result<GoogleToken> found = FindGoogleToken(!place.Variable("STORAGE_EMULATOR_HOST").empty());
    if (!found) {
      findings.push_back(
          Wrong("gs: " + found.error().message, "docs/sources.md says where a token may be from"));
    } else if (found->token.empty()) {
      findings.push_back(
          Doubtful(fmt::format("gs: no token ({})", found->from),
                   "only public objects can be read; docs/sources.md says where a token may be from"));
    } else {
      findings.push_back(Fine(fmt::format("gs: a token from {}", found->from)));
    }
  }
  return findings;
}

Findings CheckTraces(const Place& place) {
  const TraceExport& traces = place.options.trace_export;
  if (traces.endpoint.empty()) return {};
  HttpCall call;
  call.method = "POST";
  call.url = traces.endpoint;
  call.headers = {{"Content-Type", "application/json"}};
  call.headers.insert(call.headers.end(), traces.headers.begin(), traces.headers.end());
  call.body = R"({"resourceSpans": []})";
  call.timeout = kPatience;
  call.start_advice = "look whether a collector runs there";
  const Result<HttpAnswer> answer = CallHttp(call);
  const std::string advice =
      "traces are dropped until it answers, requests are not touched; look at trace_endpoint";
  if (!answer) return {Doubtful(answer.error().message, advice)};
  if (answer->status >= 400) {
    return {Doubtful(fmt::format("{} answers {}", traces.endpoint, answer->status),
                     answer->status == 401 || answer->status == 403 ? "look at trace_headers" : advice)};
  }
  return {Fine(fmt::format("{} takes spans", traces.endpoint))};
}

Findings CheckClock(const Place& place) {
  const std::time_t now = std::time(nullptr);
  const std::string text = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
  constexpr std::time_t kBuiltAfter = 1'735'689'600;  // 2025
  if (now < kBuiltAfter)
    return {
        Wrong(text + ": the clock is wrong", "set it: certificates, tokens and signed requests are refused")};
  if (place.Variable("MLFLOW_TRACKING_URI").empty()) return {Fine(text)};
  const Result<MlflowSettings> settings = Impatient();
  if (!settings) return {Fine(text)};
  const Result<HttpAnswer> answer = Ask(MlflowConnection(*settings), "/health");
  if (!answer) return {Fine(text)};  // the check of MLflow says why
  std::tm date{};
  const std::string header(answer->Header("date"));
  if (strptime(header.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) == nullptr) return {Fine(text)};
  const double apart = std::difftime(std::time(nullptr), timegm(&date));
  if (std::abs(apart) > kSecondsApart) {
    return {Doubtful(fmt::format("{}: {:.0f} s {} of the MLflow server's", text, std::abs(apart),
                                 apart > 0 ? "ahead" : "behind"),
                     "let NTP set the clocks: signed requests and tokens are refused when they differ")};
  }
  return {Fine(fmt::format("{}, as the MLflow server's", text))};
}

}  // namespace serve
