// How a version comes into service.

#include <algorithm>
#include <chrono>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "serve/api/management_api.h"

namespace serve {
namespace {

constexpr int kMaxWorkers = 1024;

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
  const int workers = request.initial_workers.value_or(origin.workers);
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
  ModelConfig& given = options.given;
  given = {};
  if (request.initial_workers && !of_archive.HasWorkers()) given.min_workers = given.max_workers = workers;
  if (request.exact_workers) {
    std::tie(given.min_workers, given.max_workers) = *request.exact_workers;
    options.min_workers = std::min(request.exact_workers->first, kMaxWorkers);
    options.max_workers = std::min(request.exact_workers->second, kMaxWorkers);
  }
  if (IsGiven(request.batch_size)) given.batch_size = request.batch_size;
  if (request.max_batch_delay_ms) {
    given.max_batch_delay = std::chrono::milliseconds(*request.max_batch_delay_ms);
  }
  if (request.response_timeout_s.value_or(0) > 0) {
    given.response_timeout = std::chrono::seconds(*request.response_timeout_s);
  }
  // 0 is literal, as in the reference, but only where workers are to start.
  if (const int timeout = request.startup_timeout_s.value_or(-1);
      timeout > 0 || (timeout == 0 && options.min_workers > 0)) {
    given.startup_timeout = std::chrono::seconds(timeout);
  }
  given.ApplyTo(options);
  const bool planned = options.intra_op_threads <= 0;
  options.workers_planned = planned && !given.min_workers && options.max_workers == 1;
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
  load.call = {request.model_name, request.version, request.handler,
               request.inputs,     request.batch,   request.workflow};
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
  load.admit = [this, origin](const std::string& name, const std::string& version) {
    const SnapshotModel* expected = origin.expected;
    if (expected != nullptr && (name != expected->name || version != expected->version)) {
      return InvalidArgument(fmt::format("{} now holds model {} version {}", expected->file, name, version));
    }
    return models_.Contains(name, version) ? ServedModels::AlreadyRegistered(name, version) : Status{};
  };
  load.configure = [this, request, origin](const std::string& name, const std::string& version,
                                           const ModelConfig& of_archive, VersionOptions& options) {
    RegisterRequest said = request;
    if (origin.snapshot != nullptr) {
      for (const SnapshotModel& model : *origin.snapshot) {
        if (model.name == name && model.version == version) SayAgain(model, said);
      }
    }
    Configure(said, origin, FindModelConfig(name, version), of_archive, options);
  };
  return load;
}

/// What the snapshot says a URI meant, it means again: a start serves the bytes that were served before.
Result<ArchiveSource> ManagementApi::FindSource(const RegisterRequest& request, const Origin& origin) const {
  const SnapshotModel* known = origin.expected;
  if (known == nullptr && origin.snapshot != nullptr) {
    for (const SnapshotModel& model : *origin.snapshot) {
      if (model.url == request.url && !model.origin.is_null()) known = &model;
    }
  }
  if (known != nullptr && !known->origin.is_null()) return sources_.FindAgain(known->origin);
  return sources_.Find(known == nullptr ? request.url : known->file,
                       origin.at_start || origin.expected != nullptr);
}

Result<ManagementApi::Registered> ManagementApi::RegisterWith(const RegisterRequest& request,
                                                              const Origin& origin) {
  Result<LoadRequest> load = MakeLoadRequest(request, origin);
  if (!load) return load.error();
  Result<ArchiveSource> source = FindSource(request, origin);
  if (!source) return source.error();
  load->source = source->path;
  load->origin = source->origin;
  load->lease = source->lease;
  Result<ModelHandle> loaded = loader_.Load(*load);
  if (!loaded) {
    sources_.Discard(*source);
    return loaded.error();
  }
  const VersionInfo& info = (*loaded)->info();
  const VersionOptions& options = (*loaded)->options();
  Registered registered{info.name, info.version, options.min_workers};
  (*loaded)->Scale(options.min_workers, options.max_workers, false);
  if (Status status = models_.Add(*loaded); !status.ok()) {
    sources_.Discard(*source);
    return status;
  }
  return registered;
}

}  // namespace serve
