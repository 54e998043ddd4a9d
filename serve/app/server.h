#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "serve/api/follower.h"
#include "serve/api/inference_api.h"
#include "serve/api/management_api.h"
#include "serve/api/traffic_api.h"
#include "serve/api/workflow_api.h"
#include "serve/app/options.h"
#include "serve/base/periodic.h"
#include "serve/base/status.h"
#include "serve/base/work_folder.h"
#include "serve/http/io_threads.h"
#include "serve/http/listener.h"
#include "serve/model/autoscaler.h"
#include "serve/model/loader.h"
#include "serve/model/served_models.h"
#include "serve/runtime/runtime.h"
#include "serve/security/tls_keys.h"
#include "serve/security/tokens.h"
#include "serve/telemetry/metric_job.h"
#include "serve/telemetry/metrics.h"
#include "serve/telemetry/tracer.h"
#include "serve/tracing/exporter.h"

namespace serve {

/// The whole server: built bottom-up, drained top-down.
///
/// Threads: Start, LoadModels, Stop and the destructor from threads that are none of the server's own.
class Server {
 public:
  /// `factories`: the runtimes that were built in. `options` is complete and valid (serve/config checks it).
  /// `registry`: where the setting `follow` looks; null: the MLflow server of MLFLOW_TRACKING_URI.
  Server(AppOptions options, std::vector<std::unique_ptr<RuntimeFactory>> factories,
         std::unique_ptr<ModelRegistry> registry = nullptr);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Opens the listeners and writes the port file. From now on the server answers; /ping says 503 until
  /// LoadModels is done.
  Status Start();
  /// Loads `load_models` and what a snapshot names. A model that cannot be loaded does not stop the others;
  /// /ping names it. May take long; Stop may be called meanwhile. Returns how many could not be loaded.
  std::size_t LoadModels();

  /// Not ready → no new connections → accepted requests are finished → workers are joined, all within the
  /// grace period from now. False when something had to be cut off; then a worker may be stuck inside a
  /// model, and the process must end without running destructors.
  [[nodiscard]] bool Stop();
  /// A version is being timed, or loads although its time is over, or a collector of traces does not answer:
  /// the destructor would wait for it.
  [[nodiscard]] bool Busy() const { return loader_.Busy() || (follower_ && follower_->Busy()) || exports_; }
  /// For a process that ends without running destructors: removes what it would leave on the disk.
  void RemoveUnpackedFiles();

  /// Ports are equal where one listener serves several APIs; 0: the API is not served.
  [[nodiscard]] int inference_port() const { return PortOf(inference_); }
  [[nodiscard]] int management_port() const { return PortOf(management_); }
  [[nodiscard]] int metrics_port() const { return PortOf(metrics_listener_); }

 private:
  /// One API: where it is served, by what, and to whom.
  struct Api {
    const ListenAddress& address;
    std::string_view setting;
    std::string_view what;
    std::string_view title;
    bool client_certificate;
    Router router;
    Listener*& listener;
  };

  static int PortOf(const Listener* listener) { return listener == nullptr ? 0 : listener->port(); }
  Status OpenTls();
  Status OpenMetrics();
  Status OpenTokens();
  Status OpenFollower();
  std::vector<Api> Apis();
  Status OpenListeners();
  /// One listener for the APIs that are to be at the same place.
  Status OpenListener(std::vector<Api>& apis);
  void OpenTraces();
  void FlushIoThreads();
  Status WritePortFile() const;
  void LogPlan() const;
  /// Empty when there is none.
  [[nodiscard]] std::filesystem::path UnpackFolder() const {
    return unpacked_ ? unpacked_->path() : std::filesystem::path();
  }

  const AppOptions options_;
  const Result<WorkFolder> unpacked_;  // an error ends Start
  Metrics metrics_;
  std::unique_ptr<MetricJob> metric_job_;
  std::unique_ptr<SpanExporter> span_exporter_;  // none: no span is exported
  std::unique_ptr<Tracer> tracer_;               // none: nobody asks which request a line or span belongs to
  bool exports_ = false;                         // still, after the stop
  ServedModels models_;
  std::unique_ptr<Autoscaler> autoscaler_;
  Loader loader_;
  std::unique_ptr<TlsKeys> tls_;            // none: no address is https
  std::unique_ptr<TokenAuthority> tokens_;  // none: nobody is asked for one
  InferenceApi inference_api_;
  ManagementApi management_api_;
  WorkflowApi workflow_api_;
  TrafficApi traffic_api_;
  std::unique_ptr<ModelRegistry> registry_;
  std::unique_ptr<Follower> follower_;  // none: nothing is followed
  boost::asio::thread_pool management_pool_;
  IoThreads io_threads_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unique_ptr<Periodic> traffic_rules_;  // judges them
  std::unique_ptr<Periodic> following_;      // looks at the aliases
  // Who serves what; several may be the same, null: nobody.
  Listener* inference_ = nullptr;
  Listener* management_ = nullptr;
  Listener* metrics_listener_ = nullptr;
};

/// `flambeau serve ARGS…`: reads the configuration, runs the server until SIGTERM or SIGINT (a second one
/// ends it at once) and gives the exit code: 0 done, 1 cannot start or requests were cut off, 2 wrong usage.
/// `runtimes` is asked for the runtimes once a server is really to be started.
/// `listening`, if given, is called once all listeners are open.
using MakeRuntimes = std::function<std::vector<std::unique_ptr<RuntimeFactory>>()>;
int RunServe(const std::vector<std::string>& args, const MakeRuntimes& runtimes,
             const std::function<void()>& listening = {});

/// `flambeau search-variants PID`, which a server of process PID starts: tries the variants of a model and
/// answers on the standard output (serve/model/search_process.h). Ends with that server.
int RunSearch(const std::vector<std::string>& args, const MakeRuntimes& runtimes);

}  // namespace serve
