#include "tools/cli/runs_commands.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <ostream>
#include <set>

#include <fmt/format.h>

#include "model_store/mlflow/send_run.h"
#include "tools/cli/answer_text.h"
#include "tools/cli/run_source.h"

namespace serve {
namespace {

struct RunsArguments {
  RunSource source;
  CLI::Option* folder = nullptr;
  std::string experiment;
  std::size_t limit = 50;
  std::vector<std::string> columns;
  std::vector<std::string> ids;
  bool all = false;

  /// A folder that is named wins over a URI of the environment.
  [[nodiscard]] RunSource Source() const {
    RunSource chosen = source;
    if (folder->count() > 0) chosen.uri.clear();
    return chosen;
  }
};

std::string TimeText(std::int64_t ms) {
  if (ms == 0) return {};
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

std::string NumberText(double value) { return fmt::format("{:.6g}", value); }

std::string MetricText(const MlflowRun& run, const std::string& key) {
  for (const MlflowMetric& metric : run.metrics) {
    if (metric.key == key) return NumberText(metric.value);
  }
  return "-";
}

std::string TagText(const MlflowTags& tags, const std::string& key) {
  const auto tag = tags.find(key);
  return tag == tags.end() ? "-" : tag->second;
}

Json RunJson(const ShownRun& shown) {
  const MlflowRun& run = shown.run;
  Json json = {{"run_id", run.id},         {"name", run.name},          {"experiment", shown.experiment},
               {"status", run.status},     {"start_ms", run.start_ms},  {"end_ms", run.end_ms},
               {"params", run.params},     {"metrics", Json::object()}, {"tags", run.tags},
               {"datasets", Json::array()}};
  if (!shown.sent.empty()) json["sent"] = shown.sent;
  for (const MlflowMetric& metric : run.metrics) json["metrics"][metric.key] = metric.value;
  for (const MlflowDataset& dataset : run.datasets) {
    json["datasets"].push_back(
        {{"name", dataset.name}, {"digest", dataset.digest}, {"context", dataset.context}});
  }
  for (const MlflowArtifact& artifact : shown.artifacts) {
    json["artifacts"].push_back({{"path", artifact.path}, {"size", artifact.size}});
  }
  return json;
}

void PrintJson(const ApiClient& client, const Json& json) {
  client.out() << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

int RunList(const ApiClient& client, const RunsArguments& typed) {
  const RunSource source = typed.Source();
  std::vector<std::string> problems;
  const Result<std::vector<ShownRun>> runs = source.List(typed.experiment, typed.limit, problems);
  for (const std::string& problem : problems) client.err() << "warning: " << problem << '\n';
  if (!runs) return client.Fail(runs.error());
  if (client.json()) {
    Json list = Json::array();
    for (const ShownRun& shown : *runs) list.push_back(RunJson(shown));
    PrintJson(client, list);
    return kToolDone;
  }
  if (runs->empty()) {
    client.out() << (source.uri.empty() ? fmt::format("no runs in {}\n", source.folder.string())
                                        : "no runs\n");
    return kToolDone;
  }
  std::vector<std::vector<std::string>> rows{
      {"RUN", "NAME", "EXPERIMENT", "STATUS", "STARTED (UTC)", "SECONDS"}};
  for (const std::string& column : typed.columns) {
    rows[0].push_back(column);
    std::transform(column.begin(), column.end(), rows[0].back().begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  }
  if (source.uri.empty()) rows[0].emplace_back("SENT");
  for (const ShownRun& shown : *runs) {
    const MlflowRun& run = shown.run;
    const double seconds = static_cast<double>(run.end_ms - run.start_ms) / 1000;
    // A folder's ids may be shortened, a server's may not.
    rows.push_back({source.uri.empty() ? run.id.substr(0, 12) : run.id, run.name, shown.experiment,
                    run.status, TimeText(run.start_ms),
                    run.end_ms > 0 ? fmt::format("{:.1f}", seconds) : "-"});
    for (const std::string& column : typed.columns) rows.back().push_back(MetricText(run, column));
    if (source.uri.empty()) rows.back().push_back(shown.sent);
  }
  client.out() << Table(rows);
  return kToolDone;
}

void PrintSection(const ApiClient& client, const char* title, std::vector<std::vector<std::string>> rows) {
  if (rows.empty()) return;
  for (std::vector<std::string>& row : rows) row.front().insert(0, "  ");
  client.out() << title << '\n' << Table(rows);
}

int RunShow(const ApiClient& client, const RunsArguments& typed) {
  const Result<ShownRun> shown = typed.Source().Read(typed.ids.front());
  if (!shown) return client.Fail(shown.error());
  if (client.json()) {
    PrintJson(client, RunJson(*shown));
    return kToolDone;
  }
  const MlflowRun& run = shown->run;
  std::vector<std::vector<std::string>> head = {{"run", run.id},
                                                {"name", run.name},
                                                {"experiment", shown->experiment},
                                                {"status", run.status},
                                                {"started", TimeText(run.start_ms)},
                                                {"ended", TimeText(run.end_ms)}};
  if (!shown->sent.empty()) head.push_back({"sent", shown->sent});
  client.out() << Table(head);
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : run.params) rows.push_back({key, value});
  PrintSection(client, "parameters", rows);
  rows.clear();
  for (const MlflowMetric& metric : run.metrics) rows.push_back({metric.key, NumberText(metric.value)});
  PrintSection(client, "metrics", rows);
  rows.clear();
  for (const MlflowDataset& data : run.datasets) rows.push_back({data.name, data.context, data.digest});
  PrintSection(client, "datasets", rows);
  rows.clear();
  for (const auto& [key, value] : run.tags) rows.push_back({key, value});
  PrintSection(client, "tags", rows);
  rows.clear();
  for (const MlflowArtifact& file : shown->artifacts) rows.push_back({file.path, std::to_string(file.size)});
  PrintSection(client, "artifacts", rows);
  return kToolDone;
}

/// One line of a comparison: a name and what each run says.
using Row = std::vector<std::string>;

bool Differs(const Row& row) {
  return std::any_of(row.begin() + 1, row.end(), [&row](const std::string& cell) { return cell != row[1]; });
}

int RunCompare(const ApiClient& client, const RunsArguments& typed) {
  std::vector<ShownRun> runs;
  for (const std::string& id : typed.ids) {
    Result<ShownRun> shown = typed.Source().Read(id);
    if (!shown) return client.Fail(shown.error());
    runs.push_back(*std::move(shown));
  }
  if (client.json()) {
    Json list = Json::array();
    for (const ShownRun& shown : runs) list.push_back(RunJson(shown));
    PrintJson(client, list);
    return kToolDone;
  }
  std::set<std::string> params;
  std::set<std::string> metrics;
  std::set<std::string> tags;
  for (const ShownRun& shown : runs) {
    for (const auto& [key, value] : shown.run.params) params.insert(key);
    for (const MlflowMetric& metric : shown.run.metrics) metrics.insert(metric.key);
    for (const auto& [key, value] : shown.run.tags) tags.insert(key);
  }
  std::vector<Row> rows{{
      "",
  }};
  for (const ShownRun& shown : runs) rows[0].push_back(shown.run.name);
  std::size_t same = 0;
  const auto add = [&](const std::string& kind, const std::set<std::string>& keys, const auto& text) {
    for (const std::string& key : keys) {
      Row row = {kind + " " + key};
      for (const ShownRun& shown : runs) row.push_back(text(shown.run, key));
      if (typed.all || Differs(row)) {
        rows.push_back(std::move(row));
      } else {
        ++same;
      }
    }
  };
  add("parameter", params,
      [](const MlflowRun& run, const std::string& key) { return TagText(run.params, key); });
  add("metric", metrics, MetricText);
  add("tag", tags, [](const MlflowRun& run, const std::string& key) { return TagText(run.tags, key); });
  client.out() << Table(rows);
  if (same > 0) client.out() << same << " more are equal: --all shows them\n";
  return kToolDone;
}

int RunSync(const ApiClient& client, const RunsArguments& typed) {
  const Result<MlflowSettings> settings = MlflowSettingsOf(typed.source.uri);
  if (!settings) return client.Fail(settings.error());
  const MlflowClient mlflow(*settings);
  const RunFolder folder(typed.source.folder);
  std::vector<std::string> problems;
  std::vector<RunRecord> runs = folder.List(&problems);
  for (const std::string& problem : problems) client.err() << "warning: " << problem << '\n';
  std::reverse(runs.begin(),
               runs.end());  // the oldest first, so that versions get their numbers in that order
  std::stable_partition(runs.begin(), runs.end(), [](const RunRecord& run) { return run.parent.empty(); });
  std::size_t sent = 0;
  std::size_t failed = 0;
  Json list = Json::array();
  for (const RunRecord& run : runs) {
    const bool named = std::any_of(typed.ids.begin(), typed.ids.end(),
                                   [&run](const std::string& id) { return run.id.starts_with(id); });
    if (typed.ids.empty() ? run.sent.complete : !named) continue;
    const Status status = SendRun(mlflow, folder, run.id, [&client](const std::string& note) {
      client.err() << "note: " << note << '\n';
    });
    if (status.ok()) {
      const Result<RunRecord> now = folder.Read(run.id);
      const std::string server_id = now ? now->sent.run_id : "";
      if (!client.json()) client.out() << fmt::format("sent {} as {}\n", run.id, server_id);
      list.push_back({{"run", run.id}, {"run_id", server_id}});
      ++sent;
      continue;
    }
    ++failed;
    client.err() << fmt::format("error: run {}: {}\n", run.id, status.message);
    const bool no_server = status.code == Code::kUnavailable || status.code == Code::kDeadlineExceeded;
    if (no_server || status.code == Code::kUnauthenticated) break;  // the others would fare no better
  }
  if (client.json()) PrintJson(client, list);
  if (!client.json() && sent + failed == 0) client.out() << "nothing to send\n";
  return failed == 0 ? kToolDone : kToolFailed;
}

std::shared_ptr<RunsArguments> AddSource(CLI::App* command) {
  auto typed = std::make_shared<RunsArguments>();
  command->add_option("--tracking-uri", typed->source.uri, "MLflow server to read from, instead of a folder")
      ->envname("MLFLOW_TRACKING_URI")
      ->type_name("URL");
  typed->folder = command->add_option("--runs", typed->source.folder, "Folder that flambeau-train wrote to")
                      ->type_name("FOLDER")
                      ->capture_default_str();
  return typed;
}

}  // namespace

void AddRunsCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* runs = app.add_subcommand("runs", "Show trainings that flambeau-train wrote down, and send them");
  runs->require_subcommand(1);

  CLI::App* list = runs->add_subcommand("list", "List runs, the newest first");
  const auto listed = AddSource(list);
  listed->columns = {"accuracy", "macro_f1"};
  list->add_option("--experiment", listed->experiment, "Runs of this experiment only");
  list->add_option("--limit", listed->limit, "Runs at most")
      ->check(CLI::Range(1, 50'000))
      ->capture_default_str();
  list->add_option("--metrics", listed->columns, "Metrics to show")->delimiter(',')->capture_default_str();
  list->footer(
      "Example:\n  flambeau runs list\n"
      "  flambeau runs list --tracking-uri http://127.0.0.1:5000 --metrics accuracy,log_loss");
  list->callback([=, &client, &exit_code] { exit_code = RunList(client, *listed); });

  CLI::App* show = runs->add_subcommand("show", "Show a run: parameters, metrics, data, artifacts");
  const auto shown = AddSource(show);
  show->add_option("run", shown->ids, "Its id; of a folder's run the beginning is enough")
      ->required()
      ->expected(1);
  show->footer("Example:\n  flambeau runs show 5aecf717\n  flambeau runs show 5aecf717 --json");
  show->callback([=, &client, &exit_code] { exit_code = RunShow(client, *shown); });

  CLI::App* compare = runs->add_subcommand("compare", "Show in what runs differ");
  const auto compared = AddSource(compare);
  compare->add_option("runs", compared->ids, "Ids of two runs or more")->required()->expected(2, 20);
  compare->add_flag("--all", compared->all, "Also what is equal");
  compare->footer("Example:\n  flambeau runs compare 5aecf717 c10ab2f4");
  compare->callback([=, &client, &exit_code] { exit_code = RunCompare(client, *compared); });

  CLI::App* sync = runs->add_subcommand("sync", "Send runs of a folder that no server has yet");
  const auto synced = AddSource(sync);
  sync->add_option("runs", synced->ids, "Send these, even when they were sent already [all that were not]");
  sync->footer("Example:\n  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 flambeau runs sync");
  sync->callback([=, &client, &exit_code] { exit_code = RunSync(client, *synced); });
}

}  // namespace serve
