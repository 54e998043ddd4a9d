#include "tools/cli/server_view.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::size_t kWidth = 80;
constexpr std::size_t kNameWidth = 20;
constexpr std::size_t kShownProblems = 5;

constexpr std::array<const char*, 3> kErrorReasons = {"queue_full", "no_worker", "deadline"};

/// At most `width` characters; what is cut off leaves a dot behind. A UTF-8 character is never divided.
std::string Cut(const std::string& text, std::size_t width) {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (++characters > width) {
      std::size_t end = i - 1;
      while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
      return text.substr(0, end) + ".";
    }
  }
  return text;
}

std::string Number(double value, int width, int digits) {
  return std::isnan(value) ? fmt::format("{:>{}}", "-", width)
                           : fmt::format("{:>{}.{}f}", value, width, digits);
}

/// Few digits for large numbers, so that columns stay narrow.
std::string Measure(double value, int width) {
  return Number(value, width, std::abs(value) >= 1000 ? 0 : std::abs(value) >= 100 ? 1 : 2);
}

std::string Duration(double seconds) {
  const auto all = static_cast<long long>(seconds);
  if (all >= 86'400) return fmt::format("{} d {} h", all / 86'400, all % 86'400 / 3600);
  if (all >= 3600) return fmt::format("{} h {} min", all / 3600, all % 3600 / 60);
  return all >= 60 ? fmt::format("{} min {} s", all / 60, all % 60) : fmt::format("{} s", all);
}

double NumberOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

Json ObjectOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : Json::object();
}

Json ArrayOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : Json::array();
}

std::string TuningText(const Json& tuning) {
  if (!tuning.contains("variant")) return tuning.contains("state") ? "tuning " + Field(tuning, "state") : "";
  return fmt::format("{}, {}x{} threads", Field(tuning, "variant"), Field(tuning, "workers"),
                     Field(tuning, "threads"));
}

/// The part of the metrics.
void Measured(VersionView& view, const MetricsText& before, const MetricsText& after, double window_s) {
  const MetricsText::Labels labels = {{"model_name", view.model}, {"model_version", view.version}};
  const auto with = [&labels](const char* name, const char* value) {
    MetricsText::Labels more = labels;
    more[name] = value;
    return more;
  };
  const auto came = [&](std::string_view name, const MetricsText::Labels& which) {
    return std::max(0.0, after.Sum(name, which) - before.Sum(name, which));
  };
  const auto rate = [window_s](double count) { return window_s > 0 ? count / window_s : std::nan(""); };
  double errors = came("flambeau_predictions_total", with("outcome", "error"));
  for (const char* reason : kErrorReasons)
    errors += came("flambeau_rejections_total", with("reason", reason));
  view.requests_per_s = rate(came("ts_inference_requests_total", labels));
  view.errors_per_s = rate(errors);
  const auto old_times = before.Buckets("flambeau_request_seconds", labels);
  const auto times = after.Buckets("flambeau_request_seconds", labels);
  view.p50_ms = 1000 * QuantileBetween(old_times, times, 0.5);
  view.p99_ms = 1000 * QuantileBetween(old_times, times, 0.99);
  const double batches = came("flambeau_batch_size_rows_count", labels);
  view.batch_rows = batches > 0 ? came("flambeau_batch_size_rows_sum", labels) / batches : std::nan("");
  view.busy = after.Sum("flambeau_workers", with("state", "busy"));
}

std::string VersionText(const VersionView& one, bool colour) {
  const std::string version = fmt::format(":{}{}", one.version, one.is_default ? "*" : "");
  const std::size_t left = kNameWidth - std::min(version.size(), kNameWidth / 2);
  const std::string name = Cut(Cut(one.model, left) + version, kNameWidth);  // the version is what differs
  const std::string queue = fmt::format("{:.0f}/{:.0f}", one.queued, one.queue_limit);
  const std::string workers = std::isnan(one.busy) ? fmt::format("-/{}", one.workers)
                                                   : fmt::format("{:.0f}/{}", one.busy, one.workers);
  std::string errors = Measure(one.errors_per_s, 6);
  if (colour && one.errors_per_s > 0) errors = "\x1b[31m" + errors + "\x1b[0m";
  std::string text = fmt::format("{:<20} {:>5.4g} {:>7} {:>8} {} {} {} {} {}\n", name, one.percent, workers,
                                 queue, Measure(one.requests_per_s, 7), errors, Measure(one.p50_ms, 6),
                                 Measure(one.p99_ms, 7), Number(one.batch_rows, 5, 1));
  std::string more;
  for (const auto& [what, value] : {std::pair("aliases", one.aliases), std::pair("runs", one.tuning),
                                    std::pair("follows", one.follows)}) {
    if (!value.empty()) more += fmt::format("{}{} {}", more.empty() ? "  " : "; ", what, value);
  }
  return more.empty() ? text : text + Cut(more, kWidth) + "\n";
}

}  // namespace

std::vector<VersionView> VersionsOf(const std::vector<Json>& descriptions, const MetricsText& before,
                                    const MetricsText& after, double window_s) {
  std::vector<VersionView> views;
  for (const Json& description : descriptions) {
    for (const Json& version : description) {
      if (!version.is_object()) continue;
      VersionView view;
      view.model = Field(version, "modelName");
      view.version = Field(version, "modelVersion");
      view.is_default = Field(version, "defaultVersion") == "true";
      const Json traffic = ObjectOf(version, "traffic");
      view.percent = traffic.contains("percent") ? NumberOf(traffic, "percent") : view.is_default ? 100 : 0;
      for (const Json& alias : ArrayOf(traffic, "aliases"))
        view.aliases += (view.aliases.empty() ? "" : ", ") + Text(alias);
      view.follows = Field(traffic, "follow");
      view.workers = static_cast<int>(ArrayOf(version, "workers").size());
      const Json queue = ObjectOf(version, "jobQueueStatus");
      view.queued = NumberOf(queue, "pendingRequests");
      view.queue_limit = view.queued + NumberOf(queue, "remainingCapacity");
      view.tuning = TuningText(ObjectOf(version, "tuning"));
      if (after.empty()) {
        view.busy = view.requests_per_s = view.errors_per_s = std::nan("");
        view.p50_ms = view.p99_ms = view.batch_rows = std::nan("");
      } else {
        Measured(view, before, after, window_s);
      }
      views.push_back(std::move(view));
    }
  }
  return views;
}

std::string ViewText(const ServerView& view, bool colour) {
  const auto painted = [colour](const char* code, const std::string& text) {
    return colour ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  };
  std::string text = fmt::format("flambeau {}  ", Field(view.status, "version"));
  text += view.ready ? painted("32", "ready") : painted("31", "NOT READY");
  text += fmt::format("  up {}", Duration(NumberOf(view.status, "uptimeSeconds")));
  if (view.memory_bytes > 0) text += fmt::format("  memory {:.0f} MiB", view.memory_bytes / (1 << 20));
  text += fmt::format("  {}\n", view.url);
  if (!view.ready && !Field(view.status, "reason").empty())
    text += "  " + Field(view.status, "reason") + "\n";
  if (!view.no_metrics.empty()) text += "no rates: " + view.no_metrics + "\n";
  text += "\n";
  if (view.versions.empty()) {
    text += view.no_models.empty() ? "no models are registered\n"
                                   : fmt::format("the models cannot be listed: {}\n", view.no_models);
  } else {
    text += fmt::format("{:<20} {:>5} {:>7} {:>8} {:>7} {:>6} {:>6} {:>7} {:>5}\n", "MODEL:VERSION", "%",
                        "WORKERS", "QUEUE", "REQ/s", "ERR/s", "P50 ms", "P99 ms", "BATCH");
    for (const VersionView& one : view.versions) text += VersionText(one, colour);
    if (view.no_metrics.empty()) {
      text += view.since_start
                  ? "* default version; rates and times since the start\n"
                  : fmt::format("* default version; rates and times of the last {:.3g} s\n", view.window_s);
    }
  }
  const Json problems = ArrayOf(view.status, "problems");
  if (!problems.empty()) text += "\nLAST PROBLEMS\n";
  for (std::size_t i = 0; i < std::min(problems.size(), kShownProblems); ++i) {
    const Json& problem = problems[i];
    const double times = NumberOf(problem, "times");
    text += Cut(fmt::format("{} {:<7} {}{}", Field(problem, "time"), Field(problem, "level"),
                            times > 1 ? fmt::format("({:.0f}x) ", times) : "", Field(problem, "message")),
                kWidth) +
            "\n";
  }
  return text;
}

Json ViewJson(const ServerView& view) {
  const auto number = [](double value) { return std::isnan(value) ? Json() : Json(value); };
  Json json = view.status;
  json["url"] = view.url;
  json["memoryBytes"] = view.memory_bytes;
  json["windowSeconds"] = view.window_s;
  if (!view.no_metrics.empty()) json["noMetrics"] = view.no_metrics;
  if (!view.no_models.empty()) json["noModels"] = view.no_models;
  json["models"] = Json::array();
  for (const VersionView& one : view.versions) {
    json["models"].push_back({{"model", one.model},
                              {"version", one.version},
                              {"default", one.is_default},
                              {"percent", one.percent},
                              {"aliases", one.aliases},
                              {"workers", one.workers},
                              {"busy", number(one.busy)},
                              {"queued", one.queued},
                              {"queueLimit", one.queue_limit},
                              {"requestsPerSecond", number(one.requests_per_s)},
                              {"errorsPerSecond", number(one.errors_per_s)},
                              {"p50Ms", number(one.p50_ms)},
                              {"p99Ms", number(one.p99_ms)},
                              {"batchRows", number(one.batch_rows)},
                              {"tuning", one.tuning},
                              {"follows", one.follows}});
  }
  return json;
}

}  // namespace serve
