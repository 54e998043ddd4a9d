#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "model_store/http_client/http_client.h"
#include "serve/base/status.h"

namespace serve {

/// Where an MLflow server is, who we are to it, and how patient we are.
struct MlflowSettings {
  std::string uri;  // http(s)://HOST[:PORT][/PREFIX]
  std::string username;
  std::string password;  // with the username: basic authentication, which wins over the token
  std::string token;     // bearer
  HttpTls tls{};
  std::chrono::milliseconds timeout{120'000};  // of one call; of a file: without a byte
  std::chrono::milliseconds connect_timeout{10'000};
  int max_retries = 7;
  double backoff_factor = 2;                    // seconds: 0 before the first retry, then 4, 8, 16 …
  double backoff_jitter = 1;                    // seconds, at most, added to each wait
  std::chrono::milliseconds max_wait{120'000};  // between two tries, whatever Retry-After asks for
  std::function<void(std::chrono::milliseconds)> sleep{};  // empty: the thread sleeps
};

/// Reads what MLflow's own client reads: MLFLOW_TRACKING_URI (when `uri` is empty), MLFLOW_TRACKING_USERNAME
/// and _PASSWORD (or `~/.mlflow/credentials`, section [mlflow]), _TOKEN, _INSECURE_TLS, _SERVER_CERT_PATH,
/// _CLIENT_CERT_PATH, MLFLOW_HTTP_REQUEST_MAX_RETRIES, _BACKOFF_FACTOR, _BACKOFF_JITTER, _TIMEOUT.
/// Errors: kNotFound (no URI at all), kInvalidArgument (a URI that is not http(s), a number that is none).
Result<MlflowSettings> MlflowSettingsOf(std::string uri = {});

/// Whether a call may be sent again when nobody knows if the first one was processed.
enum class MlflowRepeat {
  kAlways,          // reading, or writing the same value again
  kIfNotProcessed,  // creating: only after a failed connect, 408 or 429
};

using QueryParameters = std::vector<std::pair<std::string, std::string>>;

/// Calls MLflow's REST API, again where that may help.
///
/// Retries: no connection, broken connection, timeout, and 408, 429, 500, 502, 503, 504, with exponential
/// waits and jitter, or what Retry-After says (seconds). Errors:  of MLflow's error_code where the answer has
/// one (RESOURCE_ALREADY_EXISTS: kConflict,
///          RESOURCE_DOES_NOT_EXIST: kNotFound, …), else of the HTTP status: 401 kUnauthenticated, 403
///          kPermissionDenied; those of CallHttp. The text names call, status and the server's own words.
/// Threads: any; blocks.
class MlflowConnection {
 public:
  explicit MlflowConnection(MlflowSettings settings);

  /// GET `/api/2.0/mlflow/<path>` with query parameters.
  Status Get(std::string_view path, const QueryParameters& query, nlohmann::json& answer) const;
  /// POST, PATCH or DELETE with a JSON body.
  Status Send(std::string_view method, std::string_view path, const nlohmann::json& body,
              nlohmann::json& answer, MlflowRepeat repeat = MlflowRepeat::kAlways) const;
  /// The same retries for any call below the server's address, `path` beginning with `/api/…`; `prepare` sets
  /// up body and sink anew before every try.
  Result<HttpAnswer> Call(std::string_view method, const std::string& path, MlflowRepeat repeat,
                          const std::function<Status(HttpCall&)>& prepare) const;

  /// What every call carries: none or one header.
  [[nodiscard]] HttpHeaders Authorization() const;
  [[nodiscard]] const MlflowSettings& settings() const { return settings_; }
  /// scheme://host[:port] and prefix, without user, password and a slash at the end.
  [[nodiscard]] const std::string& base() const { return settings_.uri; }

 private:
  [[nodiscard]] std::chrono::milliseconds Wait(int retry, const HttpAnswer* answer) const;

  MlflowSettings settings_;
  std::string authorization_;
};

}  // namespace serve
