#include "serve/model/loader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <fstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/model/model_config.h"

namespace serve {
namespace {

/// What a failed step says. `file` is a path inside the archive or the archive itself.
Status StepFailed(const LoadRequest& request, std::string_view step, std::string_view file,
                  const Status& why) {
  return {
      why.code == Code::kNotFound ? Code::kModelNotFound : Code::kInvalidModel,
      fmt::format("Model {} was not registered: {} failed ({}): {}", request.url, step, file, why.message)};
}

/// A name or version that cannot be used, with the place it came from: the call itself, else the manifest.
Status NameRefused(const LoadRequest& request, std::string_view what, const std::string& value,
                   bool from_call, const Status& why) {
  const Status named = InvalidArgument(fmt::format("model {} `{}`: {}", what, value, why.message));
  return from_call ? StepFailed(request, "read parameters", "the call", named)
                   : StepFailed(request, "read manifest", kManifestPath, named);
}

std::string FileStem(const std::filesystem::path& source) {
  std::string stem = source.stem().string();
  for (char& c : stem) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-' && c != '.') c = '_';
  }
  return stem;
}

/// Sets whole numbers to 0. False: there are none.
bool ClearIntegers(Sample& sample) {
  bool found = false;
  for (Tensor& input : sample.inputs) {
    switch (input.dtype) {
      case DType::kFloat16:
      case DType::kBFloat16:
      case DType::kFloat32:
      case DType::kFloat64:
        break;
      default:
        std::memset(input.data.get(), 0, input.bytes());
        found = true;
    }
  }
  return found;
}

Result<Request> ExampleRequest(const UnpackedArchive& archive) {
  const std::filesystem::path path = archive.folder / archive.manifest.example_input.file;
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) return InvalidArgument(fmt::format("cannot read it: {}", error.message()));
  Request request;
  request.body = Buffer(size);
  std::ifstream file(path, std::ios::binary);
  if (!file.read(request.body.data(), static_cast<std::streamsize>(size)))
    return InvalidArgument("cannot read it");
  request.head = archive.manifest.example_input.content_type;
  request.parts.push_back({"body", request.body.view(), request.head});
  request.body_is_part = true;
  return request;
}

bool SameShape(const TensorSpec& spec, const Tensor& tensor) {
  if (tensor.dtype != spec.dtype || tensor.shape.size() != spec.shape.size() + 1) return false;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    if (spec.shape[i] >= 0 && spec.shape[i] != tensor.shape[i + 1]) return false;
  }
  return true;
}

/// Whether the handler understands what the model answered.
Status CheckAnswer(const Handler& handler, const Output& output, const Sample& sample) {
  const Output* answer = &output;
  Result<Step> step = Step();
  if (handler.Generates()) {
    step = handler.Next(output, sample);
    if (!step) return step.error();
    if (step->more) return {};
    answer = &step->answer;
  }
  const Result<Response> rendered = handler.Render(*answer, sample.hint);
  return rendered ? Status() : rendered.error();
}

/// Whether the model answers what its archive declares; an undeclared output is not judged.
Status CheckOutputs(const std::vector<TensorSpec>& declared, const Output& output) {
  if (declared.empty()) return {};
  if (declared.size() != output.tensors.size()) {
    return InvalidArgument(fmt::format("the archive declares {} outputs, the model answered with {}",
                                       declared.size(), output.tensors.size()));
  }
  for (std::size_t i = 0; i < declared.size(); ++i) {
    const Tensor& tensor = output.tensors[i];
    if (!SameShape(declared[i], tensor)) {
      return InvalidArgument(
          fmt::format("the archive declares output {}, the model answered with {} {} (the first "
                      "dimension is the batch)",
                      SpecText(declared[i]), DTypeName(tensor.dtype), ShapeText(tensor.shape)));
    }
  }
  return {};
}

}  // namespace

Loader::Loader(std::vector<std::unique_ptr<RuntimeFactory>> factories, Metrics& metrics,
               std::filesystem::path unpack_folder, UnpackLimits limits, TunerOptions tuning)
    : factories_(std::move(factories)),
      metrics_(metrics),
      unpack_folder_(std::move(unpack_folder)),
      limits_(limits),
      tuner_(std::move(tuning)) {}

/// One call of Load: what its thread and the caller that waits for it share.
struct Loader::Attempt {
  explicit Attempt(const LoadRequest& wanted) : request(wanted) {}

  const LoadRequest request;
  std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  std::string name;  // of model and version, once the time counts
  std::string version;
  std::chrono::milliseconds limit{0};
  std::optional<TimePoint> deadline;  // known once the options are
  std::optional<Result<ModelHandle>> result;
  bool given_up = false;

  void StartClock(const VersionInfo& info, std::chrono::milliseconds timeout) {
    {
      const std::lock_guard lock(mutex);
      name = info.name;
      version = info.version;
      limit = timeout;
      deadline = SteadyClock::now() + timeout;
    }
    changed.notify_all();
  }
};

Loader::~Loader() {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [this] { return running_ == 0; });
}

bool Loader::Busy() const {
  const std::lock_guard lock(mutex_);
  return running_ > 0 || tuner_.busy();
}

Result<ModelHandle> Loader::Load(const LoadRequest& request) {
  const auto attempt = std::make_shared<Attempt>(request);
  {
    const std::lock_guard lock(mutex_);
    ++running_;
  }
  // The callbacks of `request` are called before the clock starts, so never after this function has returned.
  std::thread([this, attempt] {
    Result<ModelHandle> result = LoadNow(*attempt);
    {
      const std::lock_guard lock(attempt->mutex);
      if (!attempt->given_up) attempt->result.emplace(std::move(result));
    }
    attempt->changed.notify_all();
    result = Internal("");  // a version that came too late dies here
    const std::lock_guard lock(mutex_);
    --running_;
    ended_.notify_all();
  }).detach();

  std::unique_lock lock(attempt->mutex);
  attempt->changed.wait(lock, [&] { return attempt->result || attempt->deadline; });
  const auto loaded = [&] { return attempt->result.has_value(); };
  const bool no_time = attempt->limit.count() == 0 && attempt->deadline;  // startup_timeout=0 is literal
  if (!no_time && (loaded() || attempt->changed.wait_until(lock, *attempt->deadline, loaded))) {
    return std::move(*attempt->result);
  }
  attempt->given_up = true;
  const std::optional<Result<ModelHandle>> dropped = std::move(attempt->result);
  metrics_.model_load_failures.Add();
  const Status status = Internal(fmt::format(
      "Failed to start workers for model {} version: {}: loading took longer than startup_timeout, {} s",
      attempt->name, attempt->version, static_cast<double>(attempt->limit.count()) / 1000));
  lock.unlock();
  return status;
}

Result<ModelHandle> Loader::LoadNow(Attempt& attempt) try {
  const TimePoint start = SteadyClock::now();
  const LoadRequest& request = attempt.request;
  for (const auto& factory : factories_) factory->Begin();
  UnpackLimits limits = limits_;
  limits.allow_missing_manifest = request.name.has_value();  // as TorchServe: the call names the model then
  Result<UnpackedArchive> archive = OpenArchive(request.source, unpack_folder_, limits);
  Result<ModelHandle> loaded =
      archive ? LoadUnpacked(attempt, *archive, start)
              : StepFailed(request, "unpack", request.source.filename().string(), archive.error());
  if (!loaded) {
    metrics_.model_load_failures.Add();
    if (archive) RemoveUnpacked(*archive);
  }
  return loaded;
} catch (const std::exception& error) {
  metrics_.model_load_failures.Add();
  return Internal(fmt::format("Model {} was not registered: {}", attempt.request.url, error.what()));
}

Result<ModelHandle> Loader::LoadUnpacked(Attempt& attempt, const UnpackedArchive& archive, TimePoint start) {
  const LoadRequest& request = attempt.request;
  const Manifest& manifest = archive.manifest;
  const Result<VerifyReport> verified = VerifyArchive(archive);
  if (!verified) {
    return StepFailed(request, "verify checksums", request.source.filename().string(), verified.error());
  }

  VersionInfo info;
  info.name =
      request.name.value_or(!manifest.model_name.empty() ? manifest.model_name : FileStem(request.source));
  info.version = request.version.value_or(manifest.model_version);
  info.url = request.url;
  info.handler = request.handler.value_or(manifest.handler.empty() ? "tensor" : manifest.handler);
  info.inputs = request.inputs.empty() ? manifest.inputs : request.inputs;
  info.outputs = manifest.outputs;
  info.lineage = manifest.lineage;
  info.loaded_at_startup = request.at_start;
  info.source = request.source.filename().string();
  info.call = request.call;
  info.extensions = manifest.extensions;
  info.origin = request.origin;
  info.lease = request.lease;
  if (Status status = CheckModelName(info.name); !status.ok()) {
    return NameRefused(request, "name", info.name, request.name.has_value(), status);
  }
  if (Status status = CheckModelVersion(info.version); !status.ok()) {
    return NameRefused(request, "version", info.version, request.version.has_value(), status);
  }
  if (request.admit) {
    if (Status status = request.admit(info.name, info.version); !status.ok()) return status;
  }

  VersionOptions options = request.options;
  ModelConfig of_archive;
  HandlerOptions handler_options = manifest.handler_options;
  if (!manifest.config_file.empty()) {
    Result<ReadConfig> read = ReadModelConfig(archive.folder / manifest.config_file);
    if (!read) return StepFailed(request, "read model configuration", manifest.config_file, read.error());
    for (const std::string& warning : read->warnings) {
      LogWarning("model {} version {}: {}: {}", info.name, info.version, manifest.config_file, warning);
    }
    of_archive = read->config;
    handler_options.merge(read->handler_options);  // the manifest's own come first
  }
  if (request.configure) {
    request.configure(info.name, info.version, of_archive, options);
  } else {
    of_archive.ApplyTo(options);
  }

  const std::filesystem::path& file = archive.serialized_file;
  if (file.empty()) {
    return StepFailed(
        request, "read manifest", kManifestPath,
        InvalidArgument("it names no serializedFile; pack the .pt or .pt2 file with --serialized-file"));
  }
  const auto factory =
      std::find_if(factories_.begin(), factories_.end(), [&](const auto& f) { return f->Accepts(file); });
  if (factory == factories_.end()) {
    return StepFailed(request, "load", file.filename().string(),
                      InvalidArgument("no runtime takes this kind of file; save the model as TorchScript "
                                      "(torch.jit.save) with the ending .pt, or compile it to a package with "
                                      "the ending .pt2 (torch._inductor.aoti_compile_and_package)"));
  }
  RuntimeOptions runtime_options;
  runtime_options.inputs = info.inputs;
  runtime_options.batch = request.batch.declared() ? request.batch : manifest.batch;
  runtime_options.scratch = unpack_folder_;
  runtime_options.own_file = archive.temporary;
  info.artifact = file;
  info.loading = runtime_options;
  if (file.extension() == ".pt2") info.runtime = "aotinductor";
  attempt.StartClock(info, options.startup_timeout);
  if (const std::int64_t most = runtime_options.batch.max; most > 0 && options.scheduler.batch_size > most) {
    LogInfo(
        "model {} version {}: batch_size {} is lowered to {}, the most rows that the model is declared to "
        "take",
        info.name, info.version, options.scheduler.batch_size, most);
    options.scheduler.batch_size = most;
  }
  Result<std::unique_ptr<Runtime>> runtime = (*factory)->Load(file, runtime_options);
  if (!runtime) return StepFailed(request, "load", file.filename().string(), runtime.error());

  Result<std::unique_ptr<Handler>> handler = MakeHandler(
      info.handler, {archive.folder, info.inputs, info.outputs, handler_options, options.max_image_pixels});
  if (!handler) return StepFailed(request, "make handler", info.handler, handler.error());

  // The sample for check and warm-up: a real request if the archive brings one, else what the declaration
  // allows.
  const bool has_example = !manifest.example_input.file.empty();
  std::string checked_with = "nothing";
  Result<Sample> sample = InvalidArgument("");
  if (has_example) {
    Result<Request> example = ExampleRequest(archive);
    if (!example) return StepFailed(request, "check", manifest.example_input.file, example.error());
    sample = (*handler)->Prepare(std::move(*example));
    if (!sample) return StepFailed(request, "check", manifest.example_input.file, sample.error());
    if (Status status = (*handler)->Decode(*sample); !status.ok())
      return StepFailed(request, "check", manifest.example_input.file, status);
    checked_with = "example input";
  } else {
    sample = (*handler)->SyntheticSample();
    if (sample) checked_with = "declared shape";
  }
  info.checked_with = checked_with;

  auto version = std::make_shared<ModelVersion>(info, options, std::move(*runtime), std::move(*handler),
                                                metrics_.ForModel(info.name, info.version),
                                                archive.temporary ? archive.folder : std::filesystem::path());
  if (sample) {
    const std::string what = has_example ? manifest.example_input.file : "an input of the declared shape";
    Result<Output> output = version->Check(*sample);
    // Made up with ones; an index of 0 is in every table.
    if (!output && !has_example && ClearIntegers(*sample)) output = version->Check(*sample);
    if (!output) return StepFailed(request, "check", what, output.error());
    if (Status status = CheckOutputs(info.outputs, *output); !status.ok()) {
      return StepFailed(request, "check", what, status);
    }
    if (Status status = CheckAnswer(version->handler(), *output, *sample); !status.ok()) {
      return StepFailed(request, "check", what, status);
    }
    // Tuning knows the times of all sizes in the end; until then what the check has seen will do.
    if (request.options.tuning == TuningMode::kOff) {
      if (Status status = version->WarmUp(*sample); !status.ok())
        return StepFailed(request, "warm up", what, status);
    }
    if (request.options.tuning == TuningMode::kLoad) tuner_.Tune(*version, *sample);
    if (request.options.tuning == TuningMode::kBackground) tuner_.Enqueue(version, std::move(*sample));
  } else {
    LogWarning(
        "model {}: not checked with an input, for the archive brings no example and declares no input shape",
        info.name);
  }
  version->SetLoadTime(SteadyClock::now() - start);
  LogInfo("Model {} version {} loaded in {:.3f} s ({}, checked with {}).", info.name, info.version,
          std::chrono::duration<double>(SteadyClock::now() - start).count(),
          verified->has_digests ? fmt::format("{} files verified", verified->files)
                                : "no checksums in the archive",
          checked_with);
  return version;
}

}  // namespace serve
