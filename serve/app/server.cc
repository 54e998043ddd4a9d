#include "serve/app/server.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdlib.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/http/api_description.h"
#include "serve/http/routes.h"
#include "serve/telemetry/cpu_quota.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// A fresh folder that only this user can read.
fs::path MakeUnpackFolder(const std::string& wanted) {
  std::string pattern = (wanted.empty() ? fs::temp_directory_path() : fs::path(wanted)) / "flambeau-XXXXXX";
  return mkdtemp(pattern.data()) == nullptr ? fs::path() : fs::path(pattern);
}

AppOptions Plan(AppOptions options) {
  const int cpus = ReadCpuQuota().cpus;
  if (options.io_threads <= 0) options.io_threads = std::clamp(cpus / 2, std::min(cpus, 2), 256);
  if (options.start_workers <= 0) options.start_workers = 1;
  options.management_api.cpus = cpus;
  options.management_api.defaults.intra_op_threads = options.intra_op_threads;
  return options;
}

UnpackLimits Limits(const AppOptions& options) {
  UnpackLimits limits;
  limits.max_bytes = options.max_archive_bytes;
  return limits;
}

/// Beside the models, so that a copy of the store brings its results along.
fs::path TuningFolder(const AppOptions& options) {
  if (!options.tuning_folder.empty()) return options.tuning_folder;
  const std::string& store = options.management_api.model_store;
  return store.empty() ? fs::path() : fs::path(store) / ".tuning";
}

}  // namespace

Server::Server(AppOptions options, std::vector<std::unique_ptr<RuntimeFactory>> factories)
    : options_(Plan(std::move(options))),
      unpack_folder_(MakeUnpackFolder(options_.management_api.unpack_folder)),
      metrics_(options_.torchserve_metric_names),
      loader_(std::move(factories), metrics_, unpack_folder_, Limits(options_),
              {.budget = options_.tuning_budget,
               .folder = TuningFolder(options_),
               .cpus = options_.management_api.cpus}),
      inference_api_(models_),
      management_api_(models_, loader_, options_.management_api),
      management_pool_(static_cast<std::size_t>(std::max(1, options_.management_threads))),
      io_threads_(static_cast<std::size_t>(options_.io_threads)) {}

Server::~Server() {
  management_pool_.join();
  RemoveUnpackedFiles();
}

void Server::RemoveUnpackedFiles() {
  std::error_code error;
  if (unpack_folder_.empty()) return;
  // A model that is still being unpacked would put files into the folder while it is emptied: it finds none.
  const fs::path removed = unpack_folder_.string() + ".removed";
  fs::rename(unpack_folder_, removed, error);
  fs::remove_all(removed, error);
  fs::remove_all(unpack_folder_, error);
}

Status Server::Start() {
  if (unpack_folder_.empty()) {
    return Internal(
        fmt::format("cannot make a folder for unpacked archives in {}; set TMPDIR to a writable folder",
                    fs::temp_directory_path().string()));
  }
  LogPlan();
  models_.SetStarting(true);
  if (Status status = OpenMetrics(); !status.ok()) return status;
  if (Status status = OpenTokens(); !status.ok()) return status;
  if (Status status = OpenListeners(); !status.ok()) return status;
  if (options_.autoscale.high.count() > 0)
    autoscaler_ = std::make_unique<Autoscaler>(models_, options_.autoscale);
  if (tokens_) {
    if (Status status = tokens_->Publish(); !status.ok()) return status;
  }
  return WritePortFile();
}

void Server::LoadModels() {
  management_api_.LoadAtStart({options_.load_models, options_.start_workers, options_.model_snapshot});
  models_.SetStarting(false);
}

Status Server::OpenMetrics() {
  std::vector<TorchServeMetric> metrics = DefaultTorchServeMetrics();
  if (!options_.metrics_config.empty()) {
    std::ifstream file(options_.metrics_config, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (!file) return Internal(fmt::format("cannot read metrics_config {}", options_.metrics_config));
    Result<MetricsConfig> read = ParseMetricsConfig(text);
    if (!read) {
      return InvalidArgument(
          fmt::format("metrics_config {}: {}", options_.metrics_config, read.error().message));
    }
    for (const std::string& warning : read->warnings)
      LogWarning("metrics_config {}: {}", options_.metrics_config, warning);
    metrics = std::move(read->metrics);
  }
  metrics_.UseTorchServe(std::move(metrics), options_.system_metrics);
  const bool log = options_.metric_lines && !options_.log.metrics_folder.empty();
  if (log || options_.torchserve_metric_names)  // somebody looks at them
    metric_job_ = std::make_unique<MetricJob>(metrics_, options_.metric_time, log);
  return {};
}

Status Server::OpenTokens() {
  if (!options_.tokens.enabled) return {};
  Result<std::unique_ptr<TokenAuthority>> opened = TokenAuthority::Open(options_.tokens);
  if (!opened) return opened.error();
  tokens_ = std::move(*opened);
  LogInfo("Every call needs a token (Authorization: Bearer KEY), but for the metrics.{}",
          tokens_->key_file().empty() ? "" : fmt::format(" Key file located at {}", tokens_->key_file()));
  return {};
}

Status Server::OpenListeners() {
  struct Wanted {
    const ListenAddress& address;
    std::string_view setting;
    std::string_view what;
    Router router;
    std::unique_ptr<Listener>& listener;
  };
  std::vector<Wanted> wanted;
  wanted.push_back({options_.inference, "--inference-address", "Inference",
                    WithDescription(InferenceRouter(inference_api_, options_.http), "Flambeau inference API",
                                    inference_api_),
                    inference_});
  wanted.push_back({options_.management, "--management-address", "Management",
                    WithDescription(ManagementRouter(management_api_, inference_api_, management_pool_),
                                    "Flambeau management API", inference_api_),
                    management_});
  if (options_.metrics_listener) {
    wanted.push_back({options_.metrics, "--metrics-address", "Metrics",
                      WithDescription(MetricsRouter(metrics_), "Flambeau metrics API", inference_api_),
                      metrics_listener_});
  }
  if (tokens_) {
    wanted[0].router.Protect(TokenGuard(*tokens_, TokenScope::kInference), {"/", "/api-description"});
    wanted[1].router.Protect(TokenGuard(*tokens_, TokenScope::kManagement), {"/", "/api-description"});
    wanted[1].router.Add(TokenRouter(*tokens_, management_pool_));
  }
  for (Wanted& one : wanted) {
    Result<std::unique_ptr<Listener>> opened =
        Listener::Open(io_threads_, one.address.host, one.address.port, one.setting, std::move(one.router),
                       options_.http, metrics_);
    if (!opened) return opened.error();
    one.listener = std::move(*opened);
    LogInfo("{} API bind to: {}", one.what, one.listener->url());
  }
  return {};
}

Status Server::WritePortFile() const {
  if (options_.port_file.empty()) return {};
  const std::string partial = fmt::format("{}.partial.{}", options_.port_file, getpid());
  {
    std::ofstream file(partial);
    file << "inference=" << inference_port() << "\nmanagement=" << management_port() << "\n";
    if (metrics_listener_) file << "metrics=" << metrics_port() << "\n";
    if (!file.flush()) return Internal(fmt::format("cannot write port_file {}", options_.port_file));
  }
  std::error_code error;
  fs::rename(partial, options_.port_file, error);  // whoever waits for the file finds it complete
  if (error)
    return Internal(fmt::format("cannot write port_file {}: {}", options_.port_file, error.message()));
  return {};
}

void Server::LogPlan() const {
  const CpuQuota quota = ReadCpuQuota();
  LogInfo(
      "CPU plan: {} CPUs ({}), {} I/O threads; a model gets {} worker(s) at start and {} intra-op threads a "
      "worker.",
      quota.cpus, quota.source, options_.io_threads, options_.start_workers,
      options_.intra_op_threads > 0 ? std::to_string(options_.intra_op_threads) : "CPUs / workers");
  LogInfo("Model store: {}",
          options_.management_api.model_store.empty() ? "none" : options_.management_api.model_store);
}

bool Server::Stop() {
  const TimePoint deadline = SteadyClock::now() + options_.grace;
  models_.SetDraining();
  autoscaler_.reset();
  loader_.StopTuning();
  bool complete = true;
  for (Listener* listener : {inference_.get(), management_.get(), metrics_listener_.get()}) {
    if (listener != nullptr) listener->StopAccepting();
  }
  for (Listener* listener : {inference_.get(), management_.get(), metrics_listener_.get()}) {
    if (listener != nullptr && !listener->Drain(deadline)) complete = false;
  }
  metric_job_.reset();  // while the models' counters are there
  management_api_.StopSnapshots();
  models_.DrainAll(deadline);
  return complete && !models_.HasStuckVersions();
}

}  // namespace serve
