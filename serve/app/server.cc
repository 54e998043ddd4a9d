#include "serve/app/server.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <future>
#include <iterator>
#include <stdlib.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "serve/api/mlflow_registry.h"
#include "serve/base/files.h"
#include "serve/base/log.h"
#include "serve/config/address.h"
#include "serve/http/access_log.h"
#include "serve/http/api_description.h"
#include "serve/http/routes.h"
#include "serve/telemetry/cpu_quota.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

// After the grace period: a platform that waits 10 s gets all of it with a grace of 8.
constexpr std::chrono::milliseconds kFlushPatience{200};
constexpr std::chrono::milliseconds kExportPatience{1'000};
constexpr std::uint64_t kMostConfigBytes = 1U << 20;

AppOptions Plan(AppOptions options) {
  const int cpus = ReadCpuQuota().cpus;
  options.io_threads = PlannedIoThreads(options, cpus);
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

/// What is followed may be fetched: the operator has named it.
ManagementOptions WithFollowed(ManagementOptions options, const std::string& models) {
  const Result<std::vector<Followed>> followed = ParseFollowed(models);
  for (std::size_t i = 0; followed && i < followed->size(); ++i) {
    std::string name;
    for (const char c : (*followed)[i].model) name += c == '.' ? "[.]" : std::string(1, c);
    options.allowed_urls +=
        (options.allowed_urls.empty() ? "" : ",") + fmt::format("models:/{}/[0-9]+", name);
  }
  return options;
}

}  // namespace

Server::Server(AppOptions options, std::vector<std::unique_ptr<RuntimeFactory>> factories,
               std::unique_ptr<ModelRegistry> registry)
    : options_(Plan(std::move(options))),
      unpacked_(WorkFolder::Make(options_.management_api.unpack_folder)),
      metrics_(options_.torchserve_metric_names),
      loader_(std::move(factories), metrics_, UnpackFolder(), Limits(options_),
              {.budget = options_.tuning_budget,
               .folder = TuningFolder(options_),
               .cpus = options_.management_api.cpus,
               .search_command = options_.search_command}),
      inference_api_(models_, options_.sequence_names, options_.traffic),
      management_api_(models_, loader_, WithFollowed(options_.management_api, options_.follow.models)),
      workflow_api_(management_api_, inference_api_, metrics_, options_.management_api, UnpackFolder(),
                    Limits(options_)),
      traffic_api_(models_, management_api_, options_.traffic),
      registry_(std::move(registry)),
      management_pool_(static_cast<std::size_t>(std::max(1, options_.management_threads))),
      io_threads_(static_cast<std::size_t>(options_.io_threads)) {}

Server::~Server() {
  management_pool_.join();
  RemoveUnpackedFiles();
}

void Server::RemoveUnpackedFiles() {
  std::error_code error;
  const fs::path folder = UnpackFolder();
  if (folder.empty()) return;
  // A model that is still being unpacked would put files into the folder while it is emptied: it finds none.
  const fs::path removed = folder.string() + ".removed";
  fs::rename(folder, removed, error);
  fs::remove_all(removed, error);
  fs::remove_all(folder, error);
}

Status Server::Start() {
  if (!unpacked_) return unpacked_.error();
  LogPlan();
  models_.SetStarting(true);
  if (Status status = OpenTls(); !status.ok()) return status;
  if (Status status = OpenMetrics(); !status.ok()) return status;
  if (Status status = OpenTokens(); !status.ok()) return status;
  if (Status status = OpenFollower(); !status.ok()) return status;
  OpenTraces();
  if (Status status = OpenListeners(); !status.ok()) return status;
  if (options_.autoscale.high.count() > 0)
    autoscaler_ = std::make_unique<Autoscaler>(models_, options_.autoscale);
  traffic_rules_ = std::make_unique<Periodic>(options_.traffic.rule_interval,
                                              [this] { traffic_api_.JudgeRules(SteadyClock::now()); });
  if (tokens_) {
    if (Status status = tokens_->Publish(); !status.ok()) return status;
  }
  return WritePortFile();
}

std::size_t Server::LoadModels() {
  const auto restore = [this](const std::vector<SnapshotWorkflow>& workflows) {
    return workflow_api_.Restore(workflows);
  };
  const std::vector<Status> failed = management_api_.LoadAtStart(
      {options_.load_models, options_.start_workers, options_.model_snapshot, restore});
  if (follower_) {
    follower_->Look();  // what it finds is there from the start
    following_ = std::make_unique<Periodic>(options_.follow.interval, [this] { follower_->Look(); });
  }
  models_.SetStarting(false);
  return failed.size();
}

Status Server::OpenFollower() {
  Result<std::vector<Followed>> followed = ParseFollowed(options_.follow.models);
  if (!followed) return followed.error();
  if (followed->empty()) return {};
  if (!registry_) {
    Result<MlflowSettings> settings = MlflowSettingsOf();
    if (!settings) {
      return InvalidArgument(fmt::format("follow: {} (MLFLOW_TRACKING_URI says where the registry is)",
                                         settings.error().message));
    }
    settings->max_retries = 1;  // the next look comes soon
    registry_ = std::make_unique<MlflowRegistry>(std::move(*settings));
  }
  follower_ = std::make_unique<Follower>(models_, management_api_, *registry_, metrics_, options_.follow,
                                         std::move(*followed));
  return {};
}

Status Server::OpenMetrics() {
  std::vector<TorchServeMetric> metrics = DefaultTorchServeMetrics();
  if (!options_.metrics_config.empty()) {
    const Result<std::string> text = ReadFile(options_.metrics_config, kMostConfigBytes);
    if (!text) {
      return InvalidArgument(
          fmt::format("metrics_config {} cannot be read: {}", options_.metrics_config, text.error().message));
    }
    Result<MetricsConfig> read = ParseMetricsConfig(*text);
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

void Server::OpenTraces() {
  const Instance& instance = options_.instance;
  metrics_.SetInstance(instance.service, instance.revision, instance.configuration);
  if (!options_.trace_export.endpoint.empty()) {
    span_exporter_ =
        std::make_unique<SpanExporter>(options_.trace_export, instance, FLAMBEAU_VERSION, metrics_);
    LogInfo("Traces go to {}", options_.trace_export.endpoint);
  }
  if (span_exporter_ || options_.log.format == LogFormat::kJson)
    tracer_ = std::make_unique<Tracer>(options_.trace_sampling, span_exporter_.get());
}

Status Server::OpenTokens() {
  if (!options_.tokens.enabled) return {};
  Result<std::unique_ptr<TokenAuthority>> opened = TokenAuthority::Open(options_.tokens);
  if (!opened) return opened.error();
  tokens_ = std::move(*opened);
  LogInfo(
      "Every call needs a token (Authorization: Bearer KEY), but for the metrics on a port of their own.{}",
      tokens_->key_file().empty() ? "" : fmt::format(" Key file located at {}", tokens_->key_file()));
  return {};
}

Status Server::OpenTls() {
  const bool wanted = options_.inference.tls || (options_.management_listener && options_.management.tls) ||
                      (options_.metrics_listener && options_.metrics.tls);
  if (!wanted) return {};
  const auto expiry = [this](std::chrono::system_clock::time_point end) {
    metrics_.tls_certificate_expires.Set(std::chrono::system_clock::to_time_t(end));
  };
  Result<std::unique_ptr<TlsKeys>> opened = TlsKeys::Open(options_.tls, expiry);
  if (!opened) return opened.error();
  tls_ = std::move(*opened);
  return {};
}

std::vector<Server::Api> Server::Apis() {
  const ClientCertificates& asked = options_.client_certificates;
  std::vector<Api> apis;
  Router inference = InferenceRouter(inference_api_, options_.http);
  inference.Add(WorkflowPredictionRouter(workflow_api_, options_.http));
  apis.push_back({options_.inference, "--inference-address", "Inference", "Flambeau inference API",
                  asked.inference, std::move(inference), inference_});
  if (tokens_) apis.back().router.Protect(TokenGuard(*tokens_, TokenScope::kInference));
  if (options_.management_listener) {
    Router management = ManagementRouter(management_api_, inference_api_, management_pool_);
    management.Add(WorkflowManagementRouter(workflow_api_, management_pool_));
    management.Add(TrafficRouter(traffic_api_, management_pool_));
    apis.push_back({options_.management, "--management-address", "Management", "Flambeau management API",
                    asked.management, std::move(management), management_});
    if (tokens_) apis.back().router.Protect(TokenGuard(*tokens_, TokenScope::kManagement));
  }
  if (options_.metrics_listener) {
    apis.push_back({options_.metrics, "--metrics-address", "Metrics", "Flambeau metrics API", asked.metrics,
                    MetricsRouter(metrics_), metrics_listener_});
  }
  return apis;
}

Status Server::OpenListeners() {
  std::vector<std::vector<Api>> places;
  for (Api& api : Apis()) {
    const auto same = std::find_if(places.begin(), places.end(), [&](const std::vector<Api>& place) {
      return options_.single_port || SameListener(place.front().address, api.address);
    });
    (same == places.end() ? places.emplace_back() : *same).push_back(std::move(api));
  }
  for (std::vector<Api>& place : places) {
    if (Status status = OpenListener(place); !status.ok()) return status;
  }
  return {};
}

Status Server::OpenListener(std::vector<Api>& apis) {
  const bool shared = apis.size() > 1;
  const Api& first = apis.front();
  Router router;
  bool has_management = false;
  ListenerTls tls{first.address.tls ? tls_.get() : nullptr, false};
  for (Api& api : apis) {
    has_management = has_management || &api.listener == &management_;
    tls.client_certificate =
        tls.client_certificate || (api.client_certificate && !options_.tls.client_ca_file.empty());
    router.Add(std::move(api.router));
  }
  if (shared && options_.metrics_listener) {
    router.Add(MetricsRouter(metrics_));  // TorchServe has them here too, whatever else serves them
    // Their own port is the operator's; this one is the clients'.
    if (tokens_) router.Protect("/metrics", TokenGuard(*tokens_, TokenScope::kInference));
  }
  router = WithDescription(std::move(router), shared ? "Flambeau API" : first.title, inference_api_);
  if (has_management && tokens_) router.Add(TokenRouter(*tokens_, management_pool_));
  Result<std::unique_ptr<Listener>> opened =
      Listener::Open(io_threads_, first.address.host, first.address.port, first.setting, std::move(router),
                     options_.http, metrics_, tls, tracer_.get());
  if (!opened) return opened.error();
  listeners_.push_back(std::move(*opened));
  for (const Api& api : apis) {
    api.listener = listeners_.back().get();
    LogInfo("{} API bind to: {}", api.what, listeners_.back()->url());
  }
  return {};
}

Status Server::WritePortFile() const {
  if (options_.port_file.empty()) return {};
  const std::string partial = fmt::format("{}.partial.{}", options_.port_file, getpid());
  {
    std::ofstream file(partial);
    file << "inference=" << inference_port() << "\n";
    if (management_ != nullptr) file << "management=" << management_port() << "\n";
    if (metrics_listener_ != nullptr) file << "metrics=" << metrics_port() << "\n";
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

/// What they have collected of access lines and spans goes on its way, if they find the time.
void Server::FlushIoThreads() {
  std::vector<std::future<void>> flushed;
  for (const auto& loop : io_threads_.loops()) {
    auto done = std::make_shared<std::promise<void>>();
    flushed.push_back(done->get_future());
    loop->Post([done] {
      FlushAccessLog();
      Tracer::Flush();
      done->set_value();
    });
  }
  const TimePoint latest = SteadyClock::now() + kFlushPatience;
  for (std::future<void>& one : flushed) one.wait_until(latest);
}

bool Server::Stop() {
  const TimePoint deadline = SteadyClock::now() + options_.grace;
  models_.SetDraining();
  autoscaler_.reset();
  traffic_rules_.reset();
  if (follower_) follower_->Stop();
  loader_.StopTuning();
  bool complete = true;
  for (const auto& listener : listeners_) listener->StopAccepting();
  for (const auto& listener : listeners_) {
    if (!listener->Drain(deadline)) complete = false;
  }
  inference_api_.StopShadow();
  metric_job_.reset();  // while the models' counters are there
  management_api_.StopSnapshots();
  models_.DrainAll(deadline);
  FlushIoThreads();
  if (span_exporter_) exports_ = !span_exporter_->Stop(kExportPatience);
  return complete && !models_.HasStuckVersions();
}

}  // namespace serve
