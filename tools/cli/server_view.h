#pragma once

#include <string>
#include <vector>

#include "tools/cli/answer_text.h"
#include "tools/cli/metrics_text.h"

namespace serve {

/// One version of a model as `flambeau status` shows it. What is not known is NaN or empty.
struct VersionView {
  std::string model;
  std::string version;
  bool is_default = false;
  double percent = 0;  // its part of the requests that name no version
  std::string aliases;
  int workers = 0;
  double busy = 0;
  double queued = 0;
  double queue_limit = 0;
  double requests_per_s = 0;
  double errors_per_s =
      0;  // failed predictions, and requests that got no worker, no place or no answer in time
  double p50_ms = 0;
  double p99_ms = 0;
  double batch_rows = 0;  // mean
  std::string tuning;     // `optimized, 1x2 threads`
  std::string follows;    // what of a registry, and how that goes
};

/// Everything that is on the screen.
struct ServerView {
  std::string url;
  Json status = Json::object();  // what GET /status answers
  bool ready = false;
  double memory_bytes = 0;
  double window_s = 0;
  bool since_start = false;
  std::string no_metrics;  // why there are none; empty: there are
  std::string no_models;   // why they are not listed; empty: they are
  std::vector<VersionView> versions;
};

/// Puts the descriptions (each an answer of GET /models/NAME/all) and two readings of the metrics together.
/// `before` empty: since the start of the server, `window_s` seconds ago.
std::vector<VersionView> VersionsOf(const std::vector<Json>& descriptions, const MetricsText& before,
                                    const MetricsText& after, double window_s);

/// The screen, in 80 columns.
std::string ViewText(const ServerView& view, bool colour);
Json ViewJson(const ServerView& view);

}  // namespace serve
