#include "trainer/tracking/sweep.h"

#include <algorithm>
#include <ostream>
#include <system_error>
#include <unistd.h>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "model_store/mlflow/send_run.h"
#include "trainer/publish/package.h"

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Whether the word is the flag, alone or with `=VALUE`.
bool IsFlag(const std::string& word, const std::string& flag) {
  return word == "--" + flag || word.starts_with("--" + flag + "=");
}

struct Trained {
  SweepPoint point;
  RunRecord record;
  bool done = false;
};

/// Loss: less is better; every other metric: more.
bool Better(const std::string& metric, double a, double b) {
  return metric.find("loss") != std::string::npos ? a < b : a > b;
}

const Trained* BestOf(const std::vector<Trained>& trained, const std::string& metric) {
  const Trained* best = nullptr;
  double best_value = 0;
  for (const Trained& one : trained) {
    if (!one.done) continue;
    const auto metrics = one.record.LastMetrics();
    const auto value = metrics.find(metric);
    if (value == metrics.end() || (best != nullptr && !Better(metric, value->second, best_value))) continue;
    best = &one;
    best_value = value->second;
  }
  return best;
}

std::string TableOf(const std::vector<Trained>& trained, const Trained* best) {
  constexpr const char* kMetrics[] = {"accuracy", "macro_f1", "log_loss"};
  std::vector<std::vector<std::string>> rows{{"RUN"}};
  for (const auto& [flag, value] : trained.front().point) rows[0].push_back(flag);
  for (const char* metric : kMetrics) rows[0].emplace_back(metric);
  rows[0].emplace_back("seconds");
  rows[0].emplace_back("");
  for (const Trained& one : trained) {
    rows.push_back({one.record.id.substr(0, 12)});
    for (const auto& [flag, value] : one.point) rows.back().push_back(value);
    const auto metrics = one.record.LastMetrics();
    for (const char* metric : kMetrics) {
      const auto value = metrics.find(metric);
      rows.back().push_back(value == metrics.end() ? "-" : fmt::format("{:.4f}", value->second));
    }
    rows.back().push_back(
        fmt::format("{:.1f}", static_cast<double>(one.record.end_ms - one.record.start_ms) / 1000));
    rows.back().emplace_back(!one.done ? "failed" : &one == best ? "<- best" : "");
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

Json SummaryOf(const std::vector<Trained>& trained, const Trained* best, const std::string& parent) {
  Json list = Json::array();
  for (const Trained& one : trained) {
    Json settings = Json::object();
    for (const auto& [flag, value] : one.point) settings[flag] = value;
    list.push_back({{"run", one.record.id},
                    {"settings", settings},
                    {"done", one.done},
                    {"metrics", one.record.LastMetrics()}});
  }
  return {{"run", parent}, {"best", best == nullptr ? "" : best->record.id}, {"runs", list}};
}

/// Complete under its own name first.
Status CopyArchive(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  const fs::path partial = to.parent_path() / fmt::format(".{}.partial.{}", to.filename().string(), getpid());
  fs::copy_file(from, partial, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(partial, to, error);
  if (!error) return {};
  return Internal(fmt::format("cannot copy {} to {}: {}", from.string(), to.string(), error.message()));
}

/// After their parent, which a server must know first.
void SendParts(const TrackingOptions& tracking, const std::vector<Trained>& trained, std::ostream& err) {
  const Result<MlflowSettings> settings = MlflowSettingsOf(tracking.uri);
  if (!settings) return;
  const MlflowClient client(*settings);
  for (const Trained& one : trained) {
    if (one.record.id.empty()) continue;
    const Status status = SendRun(client, RunFolder(tracking.runs), one.record.id, [](const std::string&) {});
    if (status.ok()) continue;
    err << fmt::format("warning: run {} was not sent: {}\nSend it later: flambeau runs sync --runs {}\n",
                       one.record.id, status.message, tracking.runs.string());
    return;
  }
}

}  // namespace

Result<std::vector<SweepPoint>> ReadGrid(const fs::path& file) try {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) {
    return Status{Code::kNotFound, fmt::format("cannot read {}", file.string())};
  }
  const auto wrong = [&file](const std::string& text) {
    return InvalidArgument(fmt::format("{}: {}", file.string(), text));
  };
  const YAML::Node grid = YAML::LoadFile(file.string());
  if (!grid.IsMap() || grid.size() == 0)
    return wrong("expected flags with lists of values, e.g. `l2: [1e-4, 3e-4]`");
  std::vector<SweepPoint> points(1);
  for (const auto& entry : grid) {
    const auto flag = entry.first.as<std::string>();
    if (!entry.second.IsSequence() || entry.second.size() == 0) {
      return wrong(fmt::format("{}: expected a list of values", flag));
    }
    std::vector<SweepPoint> more;
    if (points.size() * entry.second.size() > kMaxSweepPoints) {
      return wrong(fmt::format("more than {} combinations", kMaxSweepPoints));
    }
    for (const SweepPoint& point : points) {
      for (const YAML::Node& value : entry.second) {
        if (!value.IsScalar()) return wrong(fmt::format("{}: a value is no text or number", flag));
        more.push_back(point);
        more.back().emplace_back(flag, value.as<std::string>());
      }
    }
    points = std::move(more);
  }
  return points;
} catch (const YAML::Exception& error) {
  return InvalidArgument(fmt::format("{} is no YAML: {}", file.string(), error.what()));
}

Result<std::vector<std::string>> SweepArguments(const std::vector<std::string>& words,
                                                const SweepPoint& point) {
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (IsFlag(words[i], "sweep")) {
      if (words[i] == "--sweep") ++i;
      continue;
    }
    arguments.push_back(words[i]);
  }
  for (const auto& [flag, value] : point) {
    const bool twice = std::any_of(arguments.begin(), arguments.end(),
                                   [&flag = flag](const std::string& word) { return IsFlag(word, flag); });
    if (twice)
      return InvalidArgument(
          fmt::format("--{} stands on the command line and in the grid: take one away", flag));
  }
  // `=`, so that a value may begin with a dash.
  for (const auto& [flag, value] : point) arguments.push_back(fmt::format("--{}={}", flag, value));
  return arguments;
}

int RunSweep(const TrackingOptions& tracking, const SweepOptions& options,
             const std::vector<std::string>& words, std::ostream& out, std::ostream& err,
             const std::function<int(const std::vector<std::string>&, SweepPart&)>& train) {
  const auto fail = [&err](const std::string& text, int code) {
    err << "error: " << text << '\n';
    return code;
  };
  std::error_code error;
  if (!options.force && fs::exists(options.archive, error)) {
    return fail(fmt::format("{} exists already; replace it with --force", options.archive.string()), 1);
  }
  const Result<std::vector<SweepPoint>> points = ReadGrid(tracking.sweep);
  if (!points) return fail(points.error().message, 2);
  if (const auto first = SweepArguments(words, points->front()); !first)
    return fail(first.error().message, 2);
  TrackedRun whole(tracking, options.recipe, err, options.quiet);
  if (!whole.on()) return fail("a sweep needs a folder for its runs: name one with --runs", 1);
  const Result<WorkFolder> work = WorkFolder::Make();
  if (!work) return fail(work.error().message, 1);

  std::vector<Trained> trained;
  for (const SweepPoint& point : *points) {
    std::string shown;
    for (const auto& [flag, value] : point) shown += fmt::format(" --{} {}", flag, value);
    if (!options.quiet)
      err << fmt::format("{}/{}{}\n", trained.size() + 1, points->size(), shown) << std::flush;
    SweepPart part{whole.record().id, work->path() / std::to_string(trained.size())};
    const int code = train(*SweepArguments(words, point), part);
    if (code == 2) {  // the first one shows it, and costs nothing
      whole.Finish({}, "wrong usage:" + shown);
      return code;
    }
    trained.push_back({point, part.record, code == 0});
    fs::remove_all(part.out, error);  // the run has its own copy
  }
  const Trained* best = BestOf(trained, tracking.sweep_metric);
  std::string failure;
  if (best == nullptr) {
    failure = fmt::format("no combination ended with a {}", tracking.sweep_metric);
  } else {
    const fs::path kept = RunFolder(tracking.runs).ArtifactPath(best->record.id) / kModelArtifacts;
    const Status copied = CopyArchive(kept / options.archive.filename(), options.archive);
    if (!copied.ok()) failure = copied.message;
  }
  if (options.json) {
    out << SummaryOf(trained, best, whole.record().id).dump(2, ' ', false, Json::error_handler_t::replace)
        << '\n';
  } else {
    out << TableOf(trained, best);
  }
  const bool sent = whole.Finish(options.archive, failure);
  if (whole.record().sent.complete) SendParts(tracking, trained, err);
  if (!failure.empty()) return fail(failure, 1);
  if (!options.quiet && !options.json) out << "archive   " << options.archive.string() << " (the best one)\n";
  return sent ? 0 : 1;
}

}  // namespace serve::trainer
