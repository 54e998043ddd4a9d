#include <chrono>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/cli/server_commands.h"

namespace serve {
namespace {

struct PingArguments {
  std::string url;  // empty: the inference API
  bool live = false;
  bool quiet = false;
  double wait_s = 4;  // a container's health check gives up after 30 s, so say why before that
};

/// Where to ask when nobody says: a platform that names the port in PORT has moved the server there.
std::string UsualUrl(const ToolOptions& options) {
  const char* port = std::getenv("PORT");
  if (options.inference != ToolOptions{}.inference || port == nullptr || *port == '\0')
    return options.inference;
  return std::string("http://127.0.0.1:") + port;
}

int RunPing(const PingArguments& typed, const ApiClient& client) {
  std::string base = typed.url.empty() ? UsualUrl(client.options()) : typed.url;
  std::string path = typed.live ? "/v2/health/live" : "/ping";
  const std::size_t scheme = base.find("://");
  const std::size_t slash = base.find('/', scheme == std::string::npos ? 0 : scheme + 3);
  if (slash != std::string::npos && slash + 1 < base.size()) {  // a whole URL is asked as it is
    path = base.substr(slash);
    base.resize(slash);
  }
  const auto timeout = std::chrono::milliseconds(static_cast<long long>(typed.wait_s * 1000));
  const Result<HttpAnswer> answer = client.Get(base, path, "inference", timeout);
  if (!answer) {
    client.err() << "error: " << answer.error().message << "\n";
    return kToolFailed;
  }
  if (client.json()) {
    client.PrintBody(*answer);
  } else if (answer->status < 400) {
    if (!typed.quiet) client.out() << (typed.live ? "live\n" : "ready\n");
  }
  if (answer->status < 400) return kToolDone;
  const auto body = nlohmann::json::parse(answer->body, nullptr, false);
  if (body.is_object() && body.contains("reason") && body["reason"].is_string()) {
    client.err() << "not ready: " << body["reason"].get<std::string>() << "\n";
    return kToolFailed;
  }
  client.Check(answer);
  return kToolFailed;
}

}  // namespace

void AddPingCommand(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* ping = app.add_subcommand("ping", "Ask whether a server is ready: for health checks");
  auto typed = std::make_shared<PingArguments>();
  ping->add_option("url", typed->url,
                   "The server, or a whole URL to ask [--inference; the port in PORT where that is set]");
  ping->add_flag("--live", typed->live, "Ask whether it answers at all, while models still load too");
  ping->add_option("--wait", typed->wait_s, "Seconds to wait for the answer")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  ping->add_flag("--quiet,-q", typed->quiet, "Print nothing when it is ready");
  ping->footer(
      "Exit codes: 0 ready, 1 not ready or no answer, 2 wrong usage.\n"
      "Examples:\n  flambeau ping\n  flambeau ping https://models.example.com --ca-file ca.pem\n"
      "  HEALTHCHECK --interval=10s --timeout=5s CMD [\"flambeau\", \"ping\"]");
  ping->callback([typed, &client, &exit_code] { exit_code = RunPing(*typed, client); });
}

}  // namespace serve
