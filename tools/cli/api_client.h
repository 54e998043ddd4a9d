#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model_store/http_client/http_client.h"
#include "serve/base/status.h"
#include "tools/cli/commands.h"

namespace serve {

/// The flags that every command of the server's clients has.
struct ToolOptions {
  std::string management = "http://127.0.0.1:8081";
  std::string inference = "http://127.0.0.1:8080";
  std::string token;       // sent with every call; empty: the one of key_file, if there is one
  std::string key_file;    // as the server writes it; empty: ./key_file.json where that exists
  HttpTls tls;             // of https:// URLs
  bool json = false;       // print the server's JSON as it is
  double timeout_s = 130;  // a register call may take the server's 120 s
};

/// `MODEL[:VERSION]`. Errors: kInvalidArgument.
struct ModelName {
  std::string model;
  std::string version;  // empty: the default version
};
Result<ModelName> ParseModelName(const std::string& text, const std::string& version_flag);

using QueryItems = std::vector<std::pair<std::string, std::string>>;
/// `/models/m/1.0?a=b`, everything encoded.
std::string ApiPath(const std::vector<std::string>& segments, const QueryItems& query = {});

/// Calls the server's HTTP APIs and reports in the tools' way. Not thread-safe.
class ApiClient {
 public:
  ApiClient(const ToolOptions& options, const ToolStreams& streams) : options_(options), streams_(streams) {}

  /// `body`: JSON; empty: none.
  Result<HttpAnswer> Management(const std::string& method, const std::string& path,
                                std::string body = {}) const;
  /// `timeout` may prolong the common one.
  Result<HttpAnswer> Inference(const std::string& path, std::string body, HttpHeaders headers,
                               std::chrono::milliseconds timeout) const;

  /// GET of any listener: `base` is its URL, `path` begins with a slash, `api` says whose key is sent
  /// (`inference`, `management`; empty: none). `timeout` takes the place of the common one.
  Result<HttpAnswer> Get(const std::string& base, const std::string& path, const char* api,
                         std::chrono::milliseconds timeout) const;

  /// kToolDone when the server agreed (status below 400). Else `error: …` with the server's own message on
  /// `err` (with --json also its body on `out`) and the exit code. `hint` is added to the message of a 404.
  int Check(const Result<HttpAnswer>& answer, std::string_view hint = {}) const;
  int Fail(const Status& status) const;
  /// For answers `{"status": "…"}`: the text, or with --json the body.
  int PrintStatus(const Result<HttpAnswer>& answer, std::string_view hint = {}) const;
  void PrintBody(const HttpAnswer& answer) const;

  [[nodiscard]] const ToolOptions& options() const { return options_; }
  [[nodiscard]] bool json() const { return options_.json; }
  [[nodiscard]] std::ostream& out() const { return streams_.out; }
  [[nodiscard]] std::ostream& err() const { return streams_.err; }
  [[nodiscard]] std::istream& in() const { return streams_.in; }

 private:
  [[nodiscard]] std::chrono::milliseconds Timeout() const;
  /// Adds `Authorization` for the API `inference` or `management` where a token is known. Errors: kNotFound
  /// for a key file that was named and has no such key.
  Status AddToken(const char* api, HttpHeaders& headers) const;

  const ToolOptions& options_;  // filled by the command line when a command runs
  const ToolStreams streams_;
};

}  // namespace serve
