#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "tools/cli/answer_text.h"
#include "tools/cli/server_commands.h"

namespace serve {
namespace {

constexpr int kMaxPages = 10'000;  // of a list: ends a server that never does

int RunList(const ApiClient& client, int limit, const std::string& first_page) {
  std::vector<std::vector<std::string>> rows = {{"NAME", "DEFAULT VERSION", "URL"}};
  std::string page = first_page;
  for (int pages = 0; pages < kMaxPages; ++pages) {
    QueryItems query = {{"limit", std::to_string(limit)}};
    if (!page.empty()) query.emplace_back("next_page_token", page);
    const Result<HttpAnswer> answer = client.Management("GET", ApiPath({"models"}, query));
    if (const int code = client.Check(answer); code != kToolDone) return code;
    if (client.json()) {  // one call, one JSON document: scripts page by themselves
      client.PrintBody(*answer);
      return kToolDone;
    }
    const Json body = Json::parse(answer->body, nullptr, false);
    if (!body.is_object() || !body.contains("models") || !body["models"].is_array()) {
      return UnexpectedAnswer(client, *answer);
    }
    for (const Json& model : body["models"]) {
      const std::string name = Field(model, "modelName");
      // The list has no versions; describe tells the default one. A model may go in between.
      const Result<HttpAnswer> described = client.Management("GET", ApiPath({"models", name}));
      std::string version = "?";
      if (described && described->status == 200) {
        const Json description = Json::parse(described->body, nullptr, false);
        if (description.is_array() && !description.empty()) version = Field(description[0], "modelVersion");
      }
      rows.push_back({name, version, Field(model, "modelUrl")});
    }
    const std::string next = Field(body, "nextPageToken");
    if (next.empty() || next == page) break;
    page = next;
  }
  client.out() << (rows.size() == 1 ? "no models are registered\n" : Table(rows));
  return kToolDone;
}

/// `x:float32:[3, -1]` of {"name", "dtype", "shape"}; other forms as they are.
std::string SpecLine(const Json& spec) {
  if (!spec.is_object()) return Text(spec);
  std::string shape;
  for (const Json& size : spec.value("shape", Json::array()))
    shape += (shape.empty() ? "" : ", ") + Text(size);
  return fmt::format("{}:{}:[{}]", Field(spec, "name"), Field(spec, "dtype"), shape);
}

/// What tuning chose: `optimized, 1 worker(s) x 2 thread(s) (done)`.
std::string TuningLine(const Json& tuning) {
  if (!tuning.contains("variant") || !tuning.contains("threads")) {
    const std::string reason = Field(tuning, "reason");
    return Field(tuning, "state") + (reason.empty() ? "" : ": " + reason);
  }
  return fmt::format("{}, {} worker(s) x {} thread(s) ({})", Field(tuning, "variant"),
                     Field(tuning, "workers"), Field(tuning, "threads"), Field(tuning, "state"));
}

/// One version of a model, as readable lines: what people look for first, then whatever else the server
/// tells.
std::string Description(const Json& version) {
  std::vector<std::vector<std::string>> lines;
  std::vector<std::vector<std::string>> workers;
  const auto count = [&version](const char* key) { return Field(version, key); };
  lines.push_back({"model", Field(version, "modelName")});
  lines.push_back({"version", Field(version, "modelVersion")});
  lines.push_back({"url", Field(version, "modelUrl")});
  std::size_t ready = 0;
  for (const Json& worker : version.value("workers", Json::array())) {
    if (Field(worker, "status") == "READY") ++ready;
    workers.push_back(
        {"  worker " + Field(worker, "id"), Field(worker, "status"), Field(worker, "startTime")});
  }
  lines.push_back({"workers", fmt::format("{} ready of {} (min {}, max {})", ready, workers.size(),
                                          count("minWorkers"), count("maxWorkers"))});
  if (const auto queue = version.find("jobQueueStatus"); queue != version.end() && queue->is_object()) {
    lines.push_back({"queue", fmt::format("{} waiting, room for {}", Field(*queue, "pendingRequests"),
                                          Field(*queue, "remainingCapacity"))});
  }
  lines.push_back(
      {"batch", fmt::format("up to {}, waits {} ms at most", count("batchSize"), count("maxBatchDelay"))});
  static constexpr std::string_view kShown[] = {"modelName", "modelVersion",  "modelUrl",
                                                "workers",   "minWorkers",    "maxWorkers",
                                                "batchSize", "maxBatchDelay", "jobQueueStatus"};
  for (const auto& [key, value] : version.items()) {
    if (std::find(std::begin(kShown), std::end(kShown), key) != std::end(kShown)) continue;
    if (key == "inputs" || key == "outputs") {
      std::string specs;
      for (const Json& spec : value) specs += (specs.empty() ? "" : " ") + SpecLine(spec);
      lines.push_back({key, specs.empty() ? "not declared" : specs});
    } else if (key == "tuning" && value.is_object()) {
      lines.push_back({key, TuningLine(value)});
    } else {
      lines.push_back({key, Text(value)});
    }
  }
  return Table(lines) + (workers.empty() ? "" : Table(workers));
}

int RunDescribe(const ApiClient& client, const ModelName& name) {
  const Result<HttpAnswer> answer = client.Management("GET", ApiPath({"models", name.model, name.version}));
  if (const int code = client.Check(answer); code != kToolDone) return code;
  if (client.json()) {
    client.PrintBody(*answer);
    return kToolDone;
  }
  const Json body = Json::parse(answer->body, nullptr, false);
  if (!body.is_array()) return UnexpectedAnswer(client, *answer);
  bool first = true;
  for (const Json& version : body) {
    if (!version.is_object()) return UnexpectedAnswer(client, *answer);
    client.out() << (first ? "" : "\n") << Description(version);
    first = false;
  }
  return kToolDone;
}

struct RegisterArguments {
  std::string url;
  std::string model_name;
  std::string version;
  std::string handler;
  std::optional<int> batch_size;
  std::optional<int> max_batch_delay;
  int initial_workers = 1;
  std::optional<int> response_timeout;
  std::vector<std::string> inputs;
  std::string batch;
  bool asynchronous = false;
};

int RunRegister(const ApiClient& client, const RegisterArguments& typed) {
  QueryItems query = {{"url", typed.url}};
  const auto put = [&query](const char* name, const std::string& value) {
    if (!value.empty()) query.emplace_back(name, value);
  };
  const auto put_number = [&query](const char* name, const std::optional<int>& value) {
    if (value) query.emplace_back(name, std::to_string(*value));
  };
  put("model_name", typed.model_name);
  put("version", typed.version);
  put("handler", typed.handler);
  put_number("batch_size", typed.batch_size);
  put_number("max_batch_delay", typed.max_batch_delay);
  put_number("initial_workers", typed.initial_workers);
  put_number("response_timeout", typed.response_timeout);
  for (const std::string& input : typed.inputs) query.emplace_back("input", input);
  put("batch", typed.batch);
  query.emplace_back("synchronous", typed.asynchronous ? "false" : "true");

  std::error_code error;
  std::string hint;
  if (std::filesystem::exists(typed.url, error)) {
    hint = fmt::format(
        "{} exists here, but the server looks in its own model store: copy it there and register it as {}",
        typed.url, std::filesystem::path(typed.url).filename().string());
  }
  return client.PrintStatus(client.Management("POST", ApiPath({"models"}, query)), hint);
}

struct ScaleArguments {
  int min_workers = 1;
  std::optional<int> max_workers;
  bool wait = false;  // the default; the flag says it aloud
  bool asynchronous = false;
};

int RunScale(const ApiClient& client, const ModelName& name, const ScaleArguments& typed) {
  QueryItems query = {{"min_worker", std::to_string(typed.min_workers)}};
  if (typed.max_workers) query.emplace_back("max_worker", std::to_string(*typed.max_workers));
  query.emplace_back("synchronous", typed.asynchronous ? "false" : "true");
  return client.PrintStatus(client.Management("PUT", ApiPath({"models", name.model, name.version}, query)));
}

/// `MODEL[:VERSION]` or `--version`, which most commands take.
struct NameArguments {
  std::string name;
  std::string version;
};

std::shared_ptr<NameArguments> AddName(CLI::App* command) {
  auto typed = std::make_shared<NameArguments>();
  command->add_option("model", typed->name, "MODEL or MODEL:VERSION")->required();
  command->add_option("--version", typed->version, "The version, instead of MODEL:VERSION");
  return typed;
}

/// The ways to run a version that were timed, and the one that was taken.
int RunTune(const ApiClient& client, const ModelName& name) {
  const Result<HttpAnswer> answer = client.Management("GET", ApiPath({"models", name.model, name.version}));
  if (!answer || answer->status != 200) return client.PrintStatus(answer);
  const Json body = Json::parse(answer->body, nullptr, false);
  if (!body.is_array() || body.empty() || !body[0].is_object()) return UnexpectedAnswer(client, *answer);
  const Json tuning = body[0].value("tuning", Json::object());
  if (client.json()) {
    client.out() << tuning.dump(2) << '\n';
    return kToolDone;
  }
  if (tuning.empty()) {
    client.out() << "not tuned (tuning=off, or there is no sample to time it with)\n";
    return kToolDone;
  }
  std::vector<std::vector<std::string>> rows{{"VARIANT", "WORKERS", "THREADS", "ROWS/S", "DIFFERENCE", ""}};
  for (const Json& trial : tuning.value("trials", Json::array())) {
    const bool chosen = Field(trial, "variant") == Field(tuning, "variant") &&
                        Field(trial, "workers") == Field(tuning, "workers") &&
                        Field(trial, "threads") == Field(tuning, "threads");
    rows.push_back({Field(trial, "variant"), Field(trial, "workers"), Field(trial, "threads"),
                    Field(trial, "rowsPerSecond"), Field(trial, "maxDifference"),
                    chosen ? "<- taken" : Field(trial, "refused")});
  }
  client.out() << TuningLine(tuning) << '\n';
  if (rows.size() > 1) client.out() << Table(rows);
  return kToolDone;
}

void AddRegister(CLI::App& models, const ApiClient& client, int& exit_code) {
  CLI::App* command = models.add_subcommand("register", "Load a model from the server's model store");
  auto typed = std::make_shared<RegisterArguments>();
  const CLI::Range not_negative(0, 1'000'000'000);
  command->add_option("url", typed->url, "File or folder in the server's model store")->required();
  command->add_option("--model-name", typed->model_name, "Name, instead of the archive's");
  command->add_option("--version", typed->version, "Version, for a model without a manifest");
  command->add_option("--handler", typed->handler, "Handler, instead of the archive's");
  command->add_option("--batch-size", typed->batch_size, "Largest batch")->check(CLI::Range(1, 1'000'000));
  command->add_option("--max-batch-delay", typed->max_batch_delay, "Longest wait for a batch, in ms")
      ->check(not_negative);
  command->add_option("--initial-workers", typed->initial_workers, "Workers to start")
      ->check(not_negative)
      ->capture_default_str();
  command
      ->add_option("--response-timeout", typed->response_timeout,
                   "Deadline of a request that names none, in s")
      ->check(not_negative);
  command
      ->add_option("--input", typed->inputs,
                   "Declares an input: name:dtype:[shape without the batch]; repeat")
      ->allow_extra_args(false);
  command->add_option(
      "--batch", typed->batch,
      "Rows that one call of the model takes: 1..64, or 8 for no other number; a .pt2 needs it");
  command->add_flag("--async", typed->asynchronous, "Do not wait until the workers are ready");
  command->footer("Example:\n  flambeau models register news.mar --initial-workers 2 --batch-size 8");
  command->callback([typed, &client, &exit_code] { exit_code = RunRegister(client, *typed); });
}

void AddScale(CLI::App& models, const ApiClient& client, int& exit_code) {
  CLI::App* command = models.add_subcommand("scale", "Change the number of workers of a model");
  const auto name = AddName(command);
  auto typed = std::make_shared<ScaleArguments>();
  const CLI::Range workers(0, 1'000'000);
  command->add_option("--min", typed->min_workers, "Smallest number of workers")
      ->check(workers)
      ->capture_default_str();
  command->add_option("--max", typed->max_workers, "Largest number of workers; default: the smallest")
      ->check(workers);
  CLI::Option* wait = command->add_flag("--wait", typed->wait, "Wait until it is done (the default)");
  command->add_flag("--async", typed->asynchronous, "Do not wait")->excludes(wait);
  command->footer("Example:\n  flambeau models scale news --min 2 --max 4");
  command->callback([=, &client, &exit_code] {
    const Result<ModelName> parsed = ParseModelName(name->name, name->version);
    exit_code = parsed ? RunScale(client, *parsed, *typed) : client.Fail(parsed.error());
  });
}

}  // namespace

void AddModelsCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* models = app.add_subcommand("models", "List and change what a running server serves");
  models->require_subcommand(1);

  CLI::App* list = models->add_subcommand("list", "List the models");
  auto limit = std::make_shared<int>(100);
  auto page = std::make_shared<std::string>();
  list->add_option("--limit", *limit, "Models per page")->check(CLI::Range(1, 100))->capture_default_str();
  list->add_option("--next-page-token", *page, "Where to begin, as the page before tells");
  list->footer("Example:\n  flambeau models list\n  flambeau models list --json --limit 10");
  list->callback([=, &client, &exit_code] { exit_code = RunList(client, *limit, *page); });

  CLI::App* describe = models->add_subcommand("describe", "Show a model: workers, queue, batching, inputs");
  const auto described = AddName(describe);
  auto all = std::make_shared<bool>(false);
  describe->add_flag("--all", *all, "Every version");
  describe->footer("Example:\n  flambeau models describe news\n  flambeau models describe news:1.0");
  describe->callback([=, &client, &exit_code] {
    Result<ModelName> name = ParseModelName(described->name, *all ? "all" : described->version);
    exit_code = name ? RunDescribe(client, *name) : client.Fail(name.error());
  });

  CLI::App* tune =
      models->add_subcommand("tune", "Show how a model is run, and how fast the other ways were");
  const auto tuned = AddName(tune);
  tune->footer("Example:\n  flambeau models tune news\n  flambeau models tune news:1.0 --json");
  tune->callback([=, &client, &exit_code] {
    const Result<ModelName> name = ParseModelName(tuned->name, tuned->version);
    exit_code = name ? RunTune(client, *name) : client.Fail(name.error());
  });

  AddRegister(*models, client, exit_code);
  AddScale(*models, client, exit_code);

  CLI::App* set_default =
      models->add_subcommand("set-default", "Choose the version that unversioned requests get");
  const auto chosen = AddName(set_default);
  set_default->footer("Example:\n  flambeau models set-default news:2.0");
  set_default->callback([=, &client, &exit_code] {
    const Result<ModelName> name = ParseModelName(chosen->name, chosen->version);
    if (name && name->version.empty()) {
      client.err() << "error: set-default needs a version: MODEL:VERSION\n";
      exit_code = kToolUsage;
      return;
    }
    exit_code = name ? client.PrintStatus(client.Management(
                           "PUT", ApiPath({"models", name->model, name->version, "set-default"})))
                     : client.Fail(name.error());
  });

  CLI::App* unregister =
      models->add_subcommand("unregister", "Remove a version; without one, the default version");
  const auto removed = AddName(unregister);
  unregister->footer("Example:\n  flambeau models unregister news:1.0");
  unregister->callback([=, &client, &exit_code] {
    const Result<ModelName> name = ParseModelName(removed->name, removed->version);
    exit_code =
        name
            ? client.PrintStatus(client.Management("DELETE", ApiPath({"models", name->model, name->version})))
            : client.Fail(name.error());
  });
}

}  // namespace serve
