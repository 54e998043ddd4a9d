#include "model_store/mlflow/connection.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace serve {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

Status ReadNumber(const char* name, double least, double& number) {
  const std::string text = Variable(name);
  if (text.empty()) return {};
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (*end != '\0' || !(value >= least) || !(value <= 1e6)) {
    return InvalidArgument(fmt::format("{}={}: expected a number of at least {}", name, text, least));
  }
  number = value;
  return {};
}

/// `~/.mlflow/credentials`: what the environment does not say.
void ReadCredentials(MlflowSettings& settings) {
  std::ifstream file(Variable("HOME") + "/.mlflow/credentials");
  bool ours = false;
  for (std::string line; std::getline(file, line);) {
    const std::string_view text = Trim(line);
    if (text.starts_with('[')) ours = text == "[mlflow]";
    const std::size_t equal = text.find_first_of("=:");
    if (!ours || equal == std::string_view::npos) continue;
    const std::string_view key = Trim(text.substr(0, equal));
    const std::string_view value = Trim(text.substr(equal + 1));
    if (key == "mlflow_tracking_username" && settings.username.empty()) settings.username = value;
    if (key == "mlflow_tracking_password" && settings.password.empty()) settings.password = value;
  }
}

std::string Base64(const std::string& text) {
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  encoded.resize(static_cast<std::size_t>(size));
  return encoded;
}

bool MayHelp(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

/// The server refused before it did anything.
bool SurelyNotProcessed(int status) { return status == 408 || status == 429; }

struct ErrorRow {
  std::string_view name;
  Code code;
};
constexpr ErrorRow kErrorCodes[] = {
    {"RESOURCE_ALREADY_EXISTS", Code::kConflict},
    {"ALREADY_EXISTS", Code::kConflict},
    {"RESOURCE_CONFLICT", Code::kConflict},
    {"RESOURCE_DOES_NOT_EXIST", Code::kNotFound},
    {"NOT_FOUND", Code::kNotFound},
    {"UNAUTHENTICATED", Code::kUnauthenticated},
    {"CUSTOMER_UNAUTHORIZED", Code::kUnauthenticated},
};

Code CodeOf(int status, std::string_view error_code) {
  for (const ErrorRow& row : kErrorCodes) {
    if (row.name == error_code) return row.code;
  }
  switch (status) {
    case 401:
      return Code::kUnauthenticated;
    case 403:
      return Code::kPermissionDenied;
    case 404:
      return Code::kNotFound;
    case 408:
    case 504:
      return Code::kDeadlineExceeded;
    case 409:
      return Code::kConflict;
    case 413:
      return Code::kPayloadTooLarge;
    case 429:
      return Code::kResourceExhausted;
    case 501:
      return Code::kNotImplemented;
    case 503:
      return Code::kUnavailable;
    default:
      return status >= 400 && status < 500 ? Code::kInvalidArgument : Code::kInternal;
  }
}

Json ParseIfJson(const HttpAnswer& answer) {
  if (answer.Header("content-type").find("json") == std::string_view::npos) return {};
  Json json = Json::parse(answer.body, nullptr, false);
  return json.is_discarded() ? Json() : json;
}

Status ErrorOf(const HttpAnswer& answer, std::string_view call, const MlflowSettings& settings) {
  constexpr std::size_t kShown = 500;
  const Json json = ParseIfJson(answer);
  std::string error_code;
  std::string words(Trim(answer.body).substr(0, kShown));
  if (json.is_object()) {
    if (json.contains("error_code") && json["error_code"].is_string()) error_code = json["error_code"];
    for (const char* key : {"message", "detail"}) {
      if (!json.contains(key) || !json[key].is_string()) continue;
      words = json[key].get<std::string>().substr(0, kShown);
      break;
    }
  }
  std::string advice;
  if (answer.status == 401) {
    advice = settings.username.empty() && settings.token.empty()
                 ? "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
                 : "; are the user and password (or the token) right?";
  } else if (answer.status >= 300 && answer.status < 400) {
    advice = fmt::format("; it redirects to {}: name that address", answer.Header("location"));
  }
  return {CodeOf(answer.status, error_code),
          fmt::format("{}: MLflow answers {}{}{}: {}{}", call, answer.status, error_code.empty() ? "" : " ",
                      error_code, words.empty() ? "(no text)" : words, advice)};
}

}  // namespace

Result<MlflowSettings> MlflowSettingsOf(std::string uri) {
  MlflowSettings settings;
  settings.uri = uri.empty() ? Variable("MLFLOW_TRACKING_URI") : std::move(uri);
  if (settings.uri.empty()) {
    return Status{Code::kNotFound, "no tracking server is named: set MLFLOW_TRACKING_URI"};
  }
  if (!settings.uri.starts_with("http://") && !settings.uri.starts_with("https://")) {
    return InvalidArgument(fmt::format(
        "the tracking URI {} is not http:// or https://: name a running MLflow server", settings.uri));
  }
  settings.username = Variable("MLFLOW_TRACKING_USERNAME");
  settings.password = Variable("MLFLOW_TRACKING_PASSWORD");
  if (settings.username.empty() || settings.password.empty()) ReadCredentials(settings);
  settings.token = Variable("MLFLOW_TRACKING_TOKEN");
  const std::string insecure = Variable("MLFLOW_TRACKING_INSECURE_TLS");
  settings.tls.verify = insecure != "true" && insecure != "True" && insecure != "TRUE" && insecure != "1";
  settings.tls.ca_file = Variable("MLFLOW_TRACKING_SERVER_CERT_PATH");
  settings.tls.certificate = Variable("MLFLOW_TRACKING_CLIENT_CERT_PATH");
  settings.tls.key = settings.tls.certificate;  // MLflow: both in one file
  double retries = settings.max_retries;
  double timeout_s = 120;
  for (Status status : {ReadNumber("MLFLOW_HTTP_REQUEST_MAX_RETRIES", 0, retries),
                        ReadNumber("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", 0, settings.backoff_factor),
                        ReadNumber("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", 0, settings.backoff_jitter),
                        ReadNumber("MLFLOW_HTTP_REQUEST_TIMEOUT", 0.001, timeout_s)}) {
    if (!status.ok()) return status;
  }
  settings.max_retries = static_cast<int>(retries);
  settings.timeout = milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
  return settings;
}

MlflowConnection::MlflowConnection(MlflowSettings settings) : settings_(std::move(settings)) {
  std::string& uri = settings_.uri;
  while (uri.ends_with('/')) uri.pop_back();
  // user:password@ of the URI, as MLflow's client takes it
  const std::size_t host = uri.find("://") == std::string::npos ? 0 : uri.find("://") + 3;
  const std::size_t at = uri.substr(0, uri.find('/', host)).rfind('@');
  if (at != std::string::npos && at > host) {
    const std::string user = uri.substr(host, at - host);
    const std::size_t colon = user.find(':');
    if (settings_.username.empty() && colon != std::string::npos) {
      settings_.username = user.substr(0, colon);
      settings_.password = user.substr(colon + 1);
    }
    uri.erase(host, at - host + 1);
  }
  if (!settings_.username.empty() && !settings_.password.empty()) {
    authorization_ = "Basic " + Base64(settings_.username + ":" + settings_.password);
  } else if (!settings_.token.empty()) {
    authorization_ = "Bearer " + settings_.token;
  }
}

HttpHeaders MlflowConnection::Authorization() const {
  if (authorization_.empty()) return {};
  return {{"Authorization", authorization_}};
}

milliseconds MlflowConnection::Wait(int retry, const HttpAnswer* answer) const {
  if (answer != nullptr) {
    const std::string_view text = answer->Header("retry-after");
    std::int64_t seconds = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (!text.empty() && read.ec == std::errc() && read.ptr == text.data() + text.size() && seconds >= 0) {
      return std::min(milliseconds(std::min<std::int64_t>(seconds, 1'000'000) * 1000), settings_.max_wait);
    }
  }
  thread_local std::minstd_rand random{std::random_device{}()};
  const double jitter =
      std::uniform_real_distribution<double>(0, std::max(settings_.backoff_jitter, 1e-9))(random);
  const double backoff = retry == 1 ? 0 : settings_.backoff_factor * std::pow(2, std::min(retry - 1, 30));
  return std::min(milliseconds(static_cast<std::int64_t>(std::min(backoff + jitter, 1e6) * 1000)),
                  settings_.max_wait);
}

Result<HttpAnswer> MlflowConnection::Call(std::string_view method, const std::string& path,
                                          MlflowRepeat repeat,
                                          const std::function<Status(HttpCall&)>& prepare) const {
  const std::string shown = fmt::format("{} {}{}", method, base(), path.substr(0, path.find('?')));
  for (int retry = 1;; ++retry) {
    HttpCall call;
    call.method = method;
    call.url = base() + path;
    call.tls = settings_.tls;
    call.timeout = settings_.timeout;
    call.connect_timeout = settings_.connect_timeout;
    call.start_advice = "is MLFLOW_TRACKING_URI right?";
    call.headers = {{"User-Agent", "flambeau"}};
    if (!authorization_.empty()) call.headers.emplace_back("Authorization", authorization_);
    if (Status status = prepare(call); !status.ok()) return status;
    Result<HttpAnswer> answer = CallHttp(call);
    bool again = false;
    if (answer) {
      if (answer->status >= 200 && answer->status < 300) return answer;
      again =
          MayHelp(answer->status) && (repeat == MlflowRepeat::kAlways || SurelyNotProcessed(answer->status));
    } else {
      const Code code = answer.error().code;
      again = code == Code::kUnavailable || (repeat == MlflowRepeat::kAlways &&
                                             (code == Code::kInternal || code == Code::kDeadlineExceeded));
    }
    if (!again || retry > settings_.max_retries) {
      return answer ? ErrorOf(*answer, shown, settings_) : answer.error();
    }
    const milliseconds wait = Wait(retry, answer ? &*answer : nullptr);
    if (settings_.sleep) {
      settings_.sleep(wait);
    } else {
      std::this_thread::sleep_for(wait);
    }
  }
}

Status MlflowConnection::Get(std::string_view path, const QueryParameters& query, Json& answer) const {
  std::string target = fmt::format("/api/2.0/mlflow/{}", path);
  char separator = '?';
  for (const auto& [name, value] : query) {
    target += fmt::format("{}{}={}", separator, name, UrlEncode(value));
    separator = '&';
  }
  const Result<HttpAnswer> got =
      Call("GET", target, MlflowRepeat::kAlways, [](HttpCall&) { return Status{}; });
  if (!got) return got.error();
  answer = ParseIfJson(*got);
  if (answer.is_object()) return {};
  return Internal(fmt::format("GET {}{}: the answer is no JSON object: is an MLflow server there?", base(),
                              target.substr(0, target.find('?'))));
}

Status MlflowConnection::Send(std::string_view method, std::string_view path, const Json& body, Json& answer,
                              MlflowRepeat repeat) const {
  const std::string target = fmt::format("/api/2.0/mlflow/{}", path);
  const std::string text = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  const Result<HttpAnswer> got = Call(method, target, repeat, [&text](HttpCall& call) {
    call.headers.emplace_back("Content-Type", "application/json");
    call.body = text;
    return Status{};
  });
  if (!got) return got.error();
  answer = ParseIfJson(*got);
  if (answer.is_object()) return {};
  return Internal(fmt::format("{} {}{}: the answer is no JSON object: is an MLflow server there?", method,
                              base(), target));
}

}  // namespace serve
