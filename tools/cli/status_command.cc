#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/cli/server_commands.h"
#include "tools/cli/server_view.h"

namespace serve {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kNotReady = 3;
constexpr int kMaxPages = 100;
constexpr std::chrono::milliseconds kPatience{10'000};  // a status that takes longer is one too

struct StatusArguments {
  std::string metrics = "http://127.0.0.1:8082";
  double watch_s = 0;  // 0: one screen
  double window_s = 1;
  int screens = 0;  // 0: without end
  bool once = false;
};

struct Scrape {
  MetricsText text;
  Clock::time_point time = Clock::now();
  std::string problem;
};

Scrape TakeMetrics(const ApiClient& client, const std::string& url) {
  Scrape scrape;
  const Result<HttpAnswer> answer = client.Get(url, "/metrics", "inference", kPatience);
  scrape.time = Clock::now();
  if (!answer) {
    scrape.problem = answer.error().message + " (--metrics URL names another place)";
  } else if (answer->status != 200) {
    scrape.problem =
        fmt::format("{}/metrics answers {} (--metrics URL names another place)", url, answer->status);
  } else {
    scrape.text = MetricsText(answer->body);
    if (scrape.text.Sum("flambeau_build_info") == 0)
      scrape.problem = fmt::format("{}/metrics is no metrics listener of Flambeau", url);
  }
  return scrape;
}

Result<HttpAnswer> Ask(const ApiClient& client, const std::string& path) {
  return client.Get(client.options().management, path, "management", kPatience);
}

/// The descriptions of all models; what goes away meanwhile is left out. `problem`: why there is no list.
std::vector<Json> Describe(const ApiClient& client, std::string& problem) {
  std::vector<Json> descriptions;
  std::string page;
  for (int pages = 0; pages < kMaxPages; ++pages) {
    QueryItems query = {{"limit", "100"}};
    if (!page.empty()) query.emplace_back("next_page_token", page);
    const Result<HttpAnswer> answer = Ask(client, ApiPath({"models"}, query));
    if (!answer || answer->status != 200) {
      problem = answer ? fmt::format("GET /models is answered {}", answer->status) : answer.error().message;
      break;
    }
    const Json list = Json::parse(answer->body, nullptr, false);
    if (!list.is_object() || !list.contains("models") || !list["models"].is_array()) break;
    for (const Json& model : list["models"]) {
      const Result<HttpAnswer> one = Ask(client, ApiPath({"models", Field(model, "modelName"), "all"}));
      if (!one || one->status != 200) continue;
      Json description = Json::parse(one->body, nullptr, false);
      if (description.is_array()) descriptions.push_back(std::move(description));
    }
    page = Field(list, "nextPageToken");
    if (page.empty()) break;
  }
  return descriptions;
}

/// One screen. `before` is the last reading of the metrics and becomes the newest one.
int Show(const StatusArguments& typed, const ApiClient& client, Scrape& before, bool colour, bool clear) {
  ServerView view;
  view.url = client.options().management;
  const Result<HttpAnswer> answer = Ask(client, "/status");
  if (!answer) {
    client.err() << "error: " << answer.error().message << "\n";
    return kToolFailed;
  }
  if (const int code = client.Check(answer, "this server is no Flambeau, or one of an earlier version");
      code != kToolDone) {
    return kToolFailed;
  }
  view.status = Json::parse(answer->body, nullptr, false);
  if (!view.status.is_object() || !view.status.contains("ready")) return UnexpectedAnswer(client, *answer);
  view.ready = Field(view.status, "ready") == "true";
  Scrape now = TakeMetrics(client, typed.metrics);
  view.no_metrics = now.problem;
  view.since_start = typed.once;
  view.window_s = typed.once ? view.status.value("uptimeSeconds", 0.0)
                             : std::chrono::duration<double>(now.time - before.time).count();
  if (!now.problem.empty()) now.text = MetricsText();
  view.memory_bytes = now.text.Sum("process_resident_memory_bytes");
  const std::vector<Json> models = Describe(client, view.no_models);
  view.versions = VersionsOf(models, typed.once ? MetricsText() : before.text, now.text, view.window_s);
  before = std::move(now);
  if (client.json()) {
    client.out() << ViewJson(view).dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    client.out() << (clear ? "\x1b[H\x1b[2J" : "") << ViewText(view, colour);
  }
  client.out().flush();
  return view.ready ? kToolDone : kNotReady;
}

int RunStatus(const StatusArguments& typed, const ApiClient& client) {
  const bool terminal = &client.out() == &std::cout && ::isatty(STDOUT_FILENO) == 1;
  const bool colour = terminal && std::getenv("NO_COLOR") == nullptr;
  const auto seconds = [](double count) { return std::chrono::duration<double>(count); };
  const bool watching = typed.watch_s > 0;
  Scrape before;
  if (!typed.once) before = TakeMetrics(client, typed.metrics);
  if (!typed.once && before.problem.empty()) std::this_thread::sleep_for(seconds(typed.window_s));
  for (int shown = 1;; ++shown) {
    const int code = Show(typed, client, before, colour, terminal && watching && !client.json());
    if (!watching || (typed.screens > 0 && shown >= typed.screens) || !client.out()) return code;
    std::this_thread::sleep_for(seconds(typed.watch_s));
  }
}

}  // namespace

void AddStatusCommand(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* status = app.add_subcommand("status", "Show what a server does, on one screen");
  auto typed = std::make_shared<StatusArguments>();
  status->add_option("--metrics", typed->metrics, "URL of the metrics API")
      ->envname("FLAMBEAU_METRICS_URL")
      ->capture_default_str();
  CLI::Option* watch =
      status->add_option("--watch,-w", typed->watch_s, "Show it again every so many seconds, until Ctrl-C")
          ->check(CLI::Range(0.1, 86'400.0));
  status->add_option("--screens", typed->screens, "End after so many")
      ->check(CLI::Range(1, 1'000'000))
      ->needs(watch);
  status->add_option("--window", typed->window_s, "Seconds between the two readings that rates come from")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  status->add_flag("--once", typed->once, "Rates and times since the start of the server, without a wait")
      ->excludes(watch);
  status->footer(
      "REQ/s are requests for the version; ERR/s those that failed, found the queue full or no worker, or "
      "were\n"
      "late. P50 and P99 are of the whole request, BATCH is the mean of rows.\n"
      "Exit codes: 0 ready, 1 no answer, 2 wrong usage, 3 it runs but is not ready.\n"
      "Examples:\n  flambeau status\n  flambeau status --watch 5\n"
      "  flambeau status --json --once | jq .ready");
  status->callback([typed, &client, &exit_code] { exit_code = RunStatus(*typed, client); });
}

}  // namespace serve
