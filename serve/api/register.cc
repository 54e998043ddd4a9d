// How a version comes into service: by a call, or at the start of the server.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "serve/api/management_api.h"
#include "serve/base/log.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxWorkers = 1024;

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

/// -1 is how clients of TorchServe say "not given".
bool IsGiven(const std::optional<int>& number) { return number && *number != -1; }

Status CheckNumber(std::string_view name, const std::optional<int>& number, int low, int high) {
  if (!number || (*number >= low && *number <= high)) return {};
  return InvalidArgument(fmt::format("{} is {}; allowed: {} to {}.", name, *number, low, high));
}

Status CheckRuntime(const std::optional<std::string>& runtime) {
  static constexpr std::string_view kKnown[] = {"python", "python3", "LSP", "torchscript", "aotinductor"};
  if (!runtime || std::find(std::begin(kKnown), std::end(kKnown), *runtime) != std::end(kKnown)) return {};
  return InvalidArgument(fmt::format("Invalid RuntimeType value: {}", *runtime));
}

}  // namespace

const ModelConfig* ManagementApi::FindModelConfig(const std::string& name, const std::string& version) const {
  const auto model = options_.models.find(name);
  if (model == options_.models.end()) return nullptr;
  const auto found = model->second.find(version);
  return found == model->second.end() ? nullptr : &found->second;
}

/// Everything that is said of the version, from the weakest to the strongest.
void ManagementApi::Configure(const RegisterRequest& request, const Origin& origin,
                              const ModelConfig* of_setting, const ModelConfig& of_archive,
                              VersionOptions& options) const {
  int workers = request.initial_workers.value_or(origin.workers);
  options.min_workers = options.max_workers = workers;
  const auto take_workers = [&options](const ModelConfig& config) {
    if (!config.HasWorkers()) return;
    options.min_workers = std::min(*config.min_workers, kMaxWorkers);
    options.max_workers = std::min(*config.max_workers, kMaxWorkers);
  };
  if (of_setting != nullptr) {
    of_setting->ApplyTo(options);
    if (origin.at_start) take_workers(*of_setting);
  }
  of_archive.ApplyTo(options);
  take_workers(of_archive);
  if (IsGiven(request.batch_size)) options.scheduler.batch_size = *request.batch_size;
  if (request.max_batch_delay_ms) {
    options.scheduler.max_batch_delay = std::chrono::milliseconds(*request.max_batch_delay_ms);
  }
  if (request.response_timeout_s.value_or(0) > 0) {
    options.response_timeout = std::chrono::seconds(*request.response_timeout_s);
  }
  // 0 is literal, as in the reference, but only where workers are to start.
  if (const int timeout = request.startup_timeout_s.value_or(-1);
      timeout > 0 || (timeout == 0 && options.min_workers > 0)) {
    options.startup_timeout = std::chrono::seconds(timeout);
  }
  const bool planned = options.intra_op_threads <= 0;
  options.workers_planned = planned && !request.initial_workers && options.max_workers == 1;
  if (planned) options.intra_op_threads = std::max(1, options_.cpus / std::max(1, options.max_workers));
}

Result<LoadRequest> ManagementApi::MakeLoadRequest(const RegisterRequest& request,
                                                   const Origin& origin) const {
  for (const Status& status :
       {CheckNumber("initial_workers", request.initial_workers, 0, kMaxWorkers),
        IsGiven(request.batch_size) ? CheckNumber("batch_size", request.batch_size, 1, 100'000) : Status{},
        CheckNumber("max_batch_delay", request.max_batch_delay_ms, 0, 600'000),
        CheckRuntime(request.runtime)}) {
    if (!status.ok()) return status;
  }
  LoadRequest load;
  load.url = request.url;
  load.name = request.model_name;
  load.version = request.version;
  load.handler = request.handler;
  load.options = options_.defaults;
  load.at_start = origin.at_start;
  load.given_inputs = request.inputs;
  load.given_batch = request.batch.value_or("");
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
  load.admit = [this](const std::string& name, const std::string& version) {
    return models_.Contains(name, version) ? ServedModels::AlreadyRegistered(name, version) : Status{};
  };
  load.configure = [this, request, origin](const std::string& name, const std::string& version,
                                           const ModelConfig& of_archive, VersionOptions& options) {
    Configure(request, origin, FindModelConfig(name, version), of_archive, options);
  };
  return load;
}

Result<ManagementApi::Registered> ManagementApi::RegisterWith(const RegisterRequest& request,
                                                              const Origin& origin) {
  const Result<fs::path> source = Locate(request.url, options_.model_store);
  if (!source) return source.error();
  Result<LoadRequest> load = MakeLoadRequest(request, origin);
  if (!load) return load.error();
  load->source = *source;
  Result<ModelHandle> loaded = loader_.Load(*load);
  if (!loaded) return loaded.error();
  const VersionInfo& info = (*loaded)->info();
  const VersionOptions& options = (*loaded)->options();
  Registered registered{info.name, info.version, options.min_workers};
  (*loaded)->Scale(options.min_workers, options.max_workers, false);
  if (Status status = models_.Add(*loaded); !status.ok()) return status;
  return registered;
}

std::vector<Status> ManagementApi::LoadAtStart(const std::string& load_models, int workers) {
  const std::vector<StartItem> items = ParseLoadModels(load_models, options_.model_store);
  std::vector<Status> results(items.size());
  std::vector<Registered> registered(items.size());
  const auto load = [&](std::size_t i) {
    RegisterRequest request;
    request.url = items[i].source;
    if (!items[i].name.empty()) request.model_name = items[i].name;
    Result<Registered> done = RegisterWith(request, {.at_start = true, .workers = workers});
    if (done) {
      registered[i] = std::move(*done);
      return;
    }
    LogError("Failed to load model: {}: {}", items[i].source, done.error().message);
    models_.NoteStartFailure(items[i].source, done.error().message);
    results[i] = done.error();
  };
  {
    std::atomic<std::size_t> next{0};
    std::vector<std::jthread> threads;
    const std::size_t at_once = std::min(items.size(), static_cast<std::size_t>(std::max(1, options_.cpus)));
    for (std::size_t thread = 0; thread < at_once; ++thread) {
      threads.emplace_back([&] {
        for (std::size_t i = next++; i < items.size(); i = next++) load(i);
      });
    }
  }
  // Which version came first depended on their sizes: the order of the list decides.
  std::set<std::string> chosen;
  for (const bool by_setting : {true, false}) {
    for (const Registered& one : registered) {
      if (one.name.empty() || chosen.contains(one.name)) continue;
      const ModelConfig* config = FindModelConfig(one.name, one.version);
      if (by_setting && (config == nullptr || !config->default_version)) continue;
      chosen.insert(one.name);
      (void)models_.SetDefault(one.name, one.version);  // fails only when it was removed meanwhile
    }
  }
  std::erase_if(results, [](const Status& status) { return status.ok(); });
  return results;
}

}  // namespace serve
