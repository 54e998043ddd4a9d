#include "serve/api/management_api.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "serve/base/log.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Outcome = ManagementReply::Outcome;

constexpr int kMaxWorkers = 1024;
constexpr int kListLimit = 100;

ManagementReply Reply(Outcome outcome, std::string text) { return {outcome, {{"status", std::move(text)}}}; }

/// ISO 8601 in UTC with milliseconds; the reference writes local time with a Z.
std::string IsoTime(std::chrono::system_clock::time_point time) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(millis / 1000)),
                     millis % 1000);
}

ordered_json SpecsJson(const std::vector<TensorSpec>& specs) {
  ordered_json json = ordered_json::array();
  for (const TensorSpec& spec : specs) {
    json.push_back({{"name", spec.name}, {"dtype", DTypeName(spec.dtype)}, {"shape", spec.shape}});
  }
  return json;
}

ordered_json DescribeVersion(const ModelVersion& version, bool is_default) {
  const VersionInfo& info = version.info();
  const VersionOptions& options = version.options();
  const VersionStatus status = version.Read();
  const auto seconds = [](std::chrono::milliseconds time) { return time.count() / 1000; };
  ordered_json json = {
      {"modelName", info.name},
      {"modelVersion", info.version},
      {"modelUrl", info.url},
      {"runtime", info.runtime},
      {"minWorkers", status.min_workers},
      {"maxWorkers", status.max_workers},
      {"batchSize", options.scheduler.batch_size},
      {"maxBatchDelay", options.scheduler.max_batch_delay.count()},
      {"responseTimeout", seconds(options.response_timeout)},
      {"startupTimeout", seconds(options.startup_timeout)},
      {"deviceType", "cpu"},
      {"loadedAtStartup", info.loaded_at_startup},
  };
  ordered_json workers = ordered_json::array();
  for (const WorkerStatus& worker : status.workers) {
    workers.push_back({{"id", std::to_string(worker.id)},
                       {"startTime", IsoTime(worker.started)},
                       {"status", worker.ready ? "READY" : "UNLOADING"},
                       {"gpu", false},
                       {"gpuUsage", "N/A"}});
  }
  json["workers"] = std::move(workers);
  json["jobQueueStatus"] = {
      {"remainingCapacity", status.queue_capacity - std::min(status.pending, status.queue_capacity)},
      {"pendingRequests", status.pending}};
  json["defaultVersion"] = is_default;
  json["handler"] = info.handler;
  json["inputs"] = SpecsJson(info.inputs);
  json["outputs"] = SpecsJson(info.outputs);
  json["checkedWith"] = info.checked_with;
  json["loadTimeMs"] = version.load_time().count();
  if (ordered_json tuning = version.tuning(); !tuning.is_null()) json["tuning"] = std::move(tuning);
  if (!info.lineage.is_null()) json["lineage"] = info.lineage;
  return json;
}

/// What a `load_models` item says: `source` or `name=source`.
struct LoadItem {
  std::string name;
  std::string source;
};

std::string Trim(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool IsArchive(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (name.starts_with('.') || name.find(".partial.") != std::string::npos) return false;
  if (entry.is_directory()) return fs::exists(entry.path() / kManifestPath);
  return name.ends_with(".mar") || name.ends_with(".tar.gz") || name.ends_with(".pt");
}

std::vector<LoadItem> ParseLoadModels(const std::string& text, const std::string& store) {
  std::vector<LoadItem> items;
  const std::string trimmed = Trim(text);
  if (trimmed.empty() || trimmed == "none" || trimmed == "standalone") return items;
  if (trimmed == "all" || trimmed == "ALL") {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(store, error)) {
      if (IsArchive(entry)) items.push_back({"", entry.path().filename().string()});
    }
    if (error) LogError("cannot list the model store {}: {}", store, error.message());
    std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.source < b.source; });
    return items;
  }
  std::size_t start = 0;
  while (start <= trimmed.size()) {
    const std::size_t comma = std::min(trimmed.find(',', start), trimmed.size());
    const std::string item = Trim(trimmed.substr(start, comma - start));
    start = comma + 1;
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos) {
      items.push_back({"", item});
    } else {
      items.push_back({Trim(item.substr(0, equals)), Trim(item.substr(equals + 1))});
    }
  }
  return items;
}

bool HasScheme(const std::string& url) {
  const std::size_t colon = url.find("://");
  return colon != std::string::npos && colon > 0;
}

/// The file or folder of the model store that `url` means: its last part, as in the reference, so that no
/// call reaches outside the store.
Result<fs::path> Locate(const std::string& url, const std::string& store) {
  if (url.empty()) return Status{Code::kModelNotFound, "empty url"};
  if (store.empty())
    return Status{Code::kModelNotFound,
                  "Model store has not been configured. Start the server with --model-store DIR."};
  if (url.find("..") != std::string::npos) {
    return Status{Code::kModelNotFound, fmt::format("Relative path is not allowed in url: {}", url)};
  }
  if (HasScheme(url)) {
    return Status{
        Code::kModelNotFound,
        fmt::format(
            "Given URL {} does not match any allowed URL(s). Put the archive into the model store and "
            "register it by its file name.",
            url)};
  }
  const fs::path name = fs::path(url).filename();
  const fs::path path = fs::path(store) / name;
  std::error_code error;
  if (name.empty() || name == "." || url.find('\0') != std::string::npos || !fs::exists(path, error)) {
    return Status{
        Code::kModelNotFound,
        fmt::format("Model not found at: {} (looked for {} in the model store)", url, name.string())};
  }
  return path;
}

}  // namespace

ManagementApi::ManagementApi(ServedModels& models, Loader& loader, ManagementOptions options)
    : models_(models), loader_(loader), options_(std::move(options)) {}

Result<ManagementReply> ManagementApi::Register(const RegisterRequest& request) {
  if (!options_.allow_model_api) {
    return Status{
        Code::kMethodNotAllowed,
        "Requested method is not allowed, please refer to API document. Registering is off here: start the "
        "server with --enable-model-api, or keep the management listener on a loopback address."};
  }
  const int workers = request.initial_workers.value_or(options_.default_workers);
  return RegisterWith(request, workers, false);
}

Result<ManagementReply> ManagementApi::RegisterWith(const RegisterRequest& request, int workers,
                                                    bool at_start) {
  const Result<fs::path> source = Locate(request.url, options_.model_store);
  if (!source) return source.error();
  if (workers < 0 || workers > kMaxWorkers) {
    return InvalidArgument(fmt::format("initial_workers is {}; allowed: 0 to {}.", workers, kMaxWorkers));
  }
  LoadRequest load;
  load.source = *source;
  load.url = request.url;
  load.name = request.model_name;
  load.version = request.version;
  load.handler = request.handler;
  load.options = options_.defaults;
  load.options.workers_planned =
      load.options.intra_op_threads <= 0 && !request.initial_workers && workers == 1;
  load.at_start = at_start;
  if (load.options.intra_op_threads <= 0)
    load.options.intra_op_threads = std::max(1, options_.cpus / std::max(1, workers));
  for (const std::string& text : request.inputs) {
    Result<TensorSpec> spec = ParseTensorSpec(text);
    if (!spec) return InvalidArgument(fmt::format("Parameter input: {}", spec.error().message));
    load.inputs.push_back(std::move(*spec));
  }
  if (request.batch) {
    const Result<BatchRange> range = ParseBatchRange(*request.batch);
    if (!range) return InvalidArgument(fmt::format("Parameter batch: {}", range.error().message));
    load.batch = *range;
  }
  if (request.batch_size) {
    if (*request.batch_size < 1 || *request.batch_size > 100'000) {
      return InvalidArgument(fmt::format("batch_size is {}; allowed: 1 to 100000.", *request.batch_size));
    }
    load.options.scheduler.batch_size = *request.batch_size;
  }
  if (request.max_batch_delay_ms) {
    if (*request.max_batch_delay_ms < 0 || *request.max_batch_delay_ms > 60'000) {
      return InvalidArgument(
          fmt::format("max_batch_delay is {} ms; allowed: 0 to 60000.", *request.max_batch_delay_ms));
    }
    load.options.scheduler.max_batch_delay = std::chrono::milliseconds(*request.max_batch_delay_ms);
  }
  if (request.response_timeout_s && *request.response_timeout_s > 0) {
    load.options.response_timeout = std::chrono::seconds(*request.response_timeout_s);
  }
  if (request.startup_timeout_s && *request.startup_timeout_s > 0) {
    load.options.startup_timeout = std::chrono::seconds(*request.startup_timeout_s);
  }
  load.admit = [this](const std::string& name, const std::string& version) {
    return models_.Contains(name, version) ? ServedModels::AlreadyRegistered(name, version) : Status{};
  };

  Result<ModelHandle> loaded = loader_.Load(load);
  if (!loaded) return loaded.error();
  const VersionInfo& info = (*loaded)->info();
  const std::string name = info.name;
  const std::string version = info.version;
  (*loaded)->Scale(workers, workers, false);
  if (Status status = models_.Add(*loaded); !status.ok()) return status;
  if (workers == 0) {
    return Reply(Outcome::kDone,
                 fmt::format("Model \"{}\" Version: {} registered with 0 initial workers. Use scale "
                             "workers API to add workers for the model.",
                             name, version));
  }
  if (!request.synchronous) return Reply(Outcome::kAccepted, "Processing worker updates...");
  return Reply(Outcome::kDone, fmt::format("Model \"{}\" Version: {} registered with {} initial workers",
                                           name, version, workers));
}

Result<ManagementReply> ManagementApi::Describe(const std::string& model, const std::string& version) const {
  const Result<ServedModels::Entry> entry = models_.Get(model);
  if (!entry) return entry.error();
  ManagementReply reply{Outcome::kDone, ordered_json::array()};
  const std::string& wanted = version.empty() ? entry->default_version : version;
  for (const ModelHandle& handle : entry->versions) {
    const std::string& text = handle->info().version;
    if (version == "all" || text == wanted)
      reply.body.push_back(DescribeVersion(*handle, text == entry->default_version));
  }
  if (reply.body.empty()) {
    return Status{Code::kVersionNotFound,
                  fmt::format("Model version: {} does not exist for model: {}", version, model)};
  }
  return reply;
}

Result<ManagementReply> ManagementApi::List(int limit, int next_page_token) const {
  const std::vector<ServedModels::Entry> entries = models_.List();
  const auto size = static_cast<std::int64_t>(entries.size());
  const std::int64_t count = limit < 0 || limit > kListLimit ? kListLimit : limit;
  const std::int64_t first = std::max(next_page_token, 0);
  const std::int64_t last = std::min(size, first + count);
  ManagementReply reply;
  // The reference repeats the offset for limit=0 and points at an empty last page; a client that follows the
  // token would not end, so the token is there only when more follows.
  if (last < size && count > 0) reply.body["nextPageToken"] = std::to_string(last);
  ordered_json models = ordered_json::array();
  for (std::int64_t i = first; i < last; ++i) {
    const ServedModels::Entry& entry = entries[static_cast<std::size_t>(i)];
    for (const ModelHandle& handle : entry.versions) {
      if (handle->info().version != entry.default_version) continue;
      models.push_back({{"modelName", entry.name}, {"modelUrl", handle->info().url}});
    }
  }
  reply.body["models"] = std::move(models);
  return reply;
}

Result<ManagementReply> ManagementApi::Scale(const ScaleRequest& request) {
  Result<ModelHandle> found = models_.Find(request.model, request.version);
  if (!found) return found.error();
  const int max = request.max_worker.value_or(request.min_worker);
  if (request.min_worker < 0 || max > kMaxWorkers) {
    return InvalidArgument(fmt::format("min_worker is {} and max_worker {}; allowed: 0 to {}.",
                                       request.min_worker, max, kMaxWorkers));
  }
  if (max < request.min_worker) return InvalidArgument("max_worker cannot be less than min_worker.");
  (*found)->Scale(request.min_worker, max, request.synchronous);
  if (!request.synchronous) return Reply(Outcome::kAccepted, "Processing worker updates...");
  std::string text = fmt::format("Workers scaled to {} for model: {}", request.min_worker, request.model);
  if (!request.version.empty()) text += fmt::format(", version: {}", request.version);
  return Reply(Outcome::kDone, std::move(text));
}

Result<ManagementReply> ManagementApi::SetDefault(const std::string& model, const std::string& version) {
  if (Status status = models_.SetDefault(model, version); !status.ok()) return status;
  return Reply(Outcome::kDone, fmt::format("Default version successfully updated for model \"{}\" to \"{}\"",
                                           model, version));
}

Result<ManagementReply> ManagementApi::Unregister(const std::string& model, const std::string& version) {
  if (!options_.allow_model_api) {
    return Status{
        Code::kMethodNotAllowed,
        "Requested method is not allowed, please refer to API document. Unregistering is off here: start the "
        "server with --enable-model-api, or keep the management listener on a loopback address."};
  }
  if (Status status = models_.Remove(model, version); !status.ok()) return status;
  LogInfo("Model {}{}{} unregistered.", model, version.empty() ? "" : " version ", version);
  return Reply(Outcome::kDone, fmt::format("Model \"{}\" unregistered", model));
}

std::vector<Status> ManagementApi::LoadAtStart(const std::string& load_models, int workers) {
  std::vector<Status> errors;
  for (const LoadItem& item : ParseLoadModels(load_models, options_.model_store)) {
    RegisterRequest request;
    request.url = item.source;
    if (!item.name.empty()) request.model_name = item.name;
    const Result<ManagementReply> reply = RegisterWith(request, workers, true);
    if (!reply) {
      LogError("Failed to load model: {}: {}", item.source, reply.error().message);
      models_.NoteStartFailure(item.source, reply.error().message);
      errors.push_back(reply.error());
    }
  }
  return errors;
}

}  // namespace serve
