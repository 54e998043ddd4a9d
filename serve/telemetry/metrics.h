#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/thread_shard.h"
#include "serve/telemetry/metrics_config.h"

namespace serve {

struct MetricInputs;
class TorchServeMetrics;

// Hot-path instruments. Each is a set of shards, one cache line or more apart, and a thread always uses the
// same shard: no lock, no shared cache line between I/O threads and workers. Values are summed when they are
// scraped.

class Counter {
 public:
  void Add(std::uint64_t amount = 1) {
    shards_[ThreadShard()].value.fetch_add(amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t Value() const;

 private:
  struct alignas(64) Shard {
    std::atomic<std::uint64_t> value{0};
  };
  std::array<Shard, kThreadShards> shards_;
};

class Gauge {
 public:
  void Add(std::int64_t amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  void Set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t Value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

class Histogram {
 public:
  /// `bounds`: upper bounds of the buckets, ascending, at most kMaxBuckets; must outlive the histogram
  /// (static).
  static constexpr std::size_t kMaxBuckets = 24;
  explicit Histogram(const std::vector<double>& bounds) : bounds_(&bounds) {}
  void Observe(double value);

  struct Snapshot {
    std::vector<double> bounds;
    std::vector<std::uint64_t> counts;  // per bucket, not cumulative; one more than bounds (+Inf)
    double sum = 0;
    std::uint64_t count = 0;
  };
  [[nodiscard]] Snapshot Read() const;

 private:
  struct alignas(64) Shard {
    std::array<std::atomic<std::uint64_t>, kMaxBuckets + 1> counts{};
    std::atomic<double> sum{0};
  };
  const std::vector<double>* bounds_;
  std::array<Shard, kThreadShards> shards_;
};

/// Seconds, from 50 µs to 60 s.
const std::vector<double>& LatencyBounds();
/// Rows: 1, 2, 4, … 1024.
const std::vector<double>& BatchSizeBounds();
/// Seconds a load may take, from 10 ms to 120 s.
const std::vector<double>& LoadBounds();

/// Why a request was not run. Label `reason`.
enum class RejectReason : std::uint8_t {
  kBadInput,
  kQueueFull,
  kNoWorker,
  kDeadline,
  kClientGone,
  kShutdown
};
inline constexpr std::array<std::string_view, 6> kRejectReasonNames = {
    "bad_input", "queue_full", "no_worker", "deadline", "client_gone", "shutdown"};
/// Why a batch left the queue. Label `reason`.
enum class BatchReason : std::uint8_t { kFull, kDelayOver, kWorkerFree, kDeadline, kShape };
inline constexpr std::array<std::string_view, 5> kBatchReasonNames = {"full", "delay_over", "worker_free",
                                                                      "deadline", "shape"};
/// Label `state` of the workers gauge.
enum class WorkerState : std::uint8_t { kStarting, kReady, kBusy, kStopping };
inline constexpr std::array<std::string_view, 4> kWorkerStateNames = {"starting", "ready", "busy",
                                                                      "stopping"};

/// How a version was chosen for a request of a model that has a traffic plan. Label `by`.
enum class TrafficChoice : std::uint8_t { kWeight, kSticky, kDefault, kAlias };
inline constexpr std::array<std::string_view, 4> kTrafficChoiceNames = {"weight", "sticky", "default",
                                                                        "alias"};
/// What became of a copy of a request. Label `result`.
enum class ShadowResult : std::uint8_t { kEqual, kDifferent, kFailed, kDropped };
inline constexpr std::array<std::string_view, 4> kShadowResultNames = {"equal", "different", "failed",
                                                                       "dropped"};
/// What a rule decided. Label `decision`.
enum class TrafficDecision : std::uint8_t { kPromoted, kRolledBack };
inline constexpr std::array<std::string_view, 2> kTrafficDecisionNames = {"promoted", "rolled_back"};

/// Why a span was not exported. Label `reason`.
enum class SpanDrop : std::uint8_t { kQueueFull, kRefused, kUnreachable, kShutdown };
inline constexpr std::array<std::string_view, 4> kSpanDropNames = {"queue_full", "refused", "unreachable",
                                                                   "shutdown"};

/// Everything that is measured of one model version; held by the version, read by the scrape.
struct ModelMetrics {
  ModelMetrics(std::string name, std::string version)
      : model_name(std::move(name)), model_version(std::move(version)) {}
  const std::string model_name;
  const std::string model_version;

  Counter requests;       // ts_inference_requests_total, flambeau_… by outcome below
  Counter latency_nanos;  // for ts_inference_latency_microseconds
  Counter queue_nanos;    // for ts_queue_latency_microseconds
  Counter succeeded;      // flambeau_predictions_total{outcome="ok"}
  Counter failed;         // flambeau_predictions_total{outcome="error"}: the model or handler failed
  std::array<Counter, kRejectReasonNames.size()> rejected;
  std::array<Counter, kBatchReasonNames.size()> batches;
  Counter batch_retries;                  // parts of a failed batch that were run again
  Histogram total{LatencyBounds()};       // arrival → answer handed to the socket
  Histogram queue{LatencyBounds()};       // push → popped
  Histogram batch_wait{LatencyBounds()};  // how long the oldest of a batch waited for company
  Histogram prepare{LatencyBounds()};
  Histogram inference{LatencyBounds()};  // collate, run, split
  Histogram render{LatencyBounds()};
  Histogram batch_size{BatchSizeBounds()};
  Histogram load{LoadBounds()};  // one observation a (re)load
  Gauge queue_depth;
  Gauge in_flight;  // accepted, not answered
  std::array<Gauge, kWorkerStateNames.size()> workers;
  Gauge traffic_points;  // its part of the requests that name no version, in 1/10,000
  std::array<Counter, kTrafficChoiceNames.size()> chosen;
  std::array<Counter, kShadowResultNames.size()> shadow;
  std::atomic<double> shadow_difference{0};  // the largest between two numbers so far
  std::array<Counter, kTrafficDecisionNames.size()> decisions;
};

/// The classes of answers that are counted: label `code`.
inline constexpr std::array<std::string_view, 5> kHttpClasses = {"1xx", "2xx", "3xx", "4xx", "5xx"};

/// What is measured of one workflow; held by it, read by the scrape.
struct WorkflowMetrics {
  explicit WorkflowMetrics(std::string name) : workflow(std::move(name)) {}
  const std::string workflow;

  std::array<Counter, kHttpClasses.size()> requests;  // by the class of their answer
  Histogram duration{LatencyBounds()};                // arrival → the answer of the last node
};

/// All metric families of the server, declared once; text for /metrics.
///
/// Threads: every method from any thread; hot-path instruments are reached without it.
class Metrics {
 public:
  /// `torchserve_names`: also export TorchServe's names that are not in base units
  /// (ts_inference_latency_microseconds, ts_queue_latency_microseconds, Requests2XX, …), which `promtool
  /// check metrics` complains about.
  explicit Metrics(bool torchserve_names);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// TorchServe's metrics as a metrics.yaml lists them, instead of all. Before any other thread calls
  /// anything.
  void UseTorchServe(std::vector<TorchServeMetric> metrics, bool system);
  /// What Cloud Run calls this process: labels of flambeau_instance_info. Likewise.
  void SetInstance(std::string service, std::string revision, std::string configuration);
  /// Takes the gauges among them anew; LogLines gives what is new of them (torchserve_metrics.h).
  void Sample();
  std::string LogLines(bool of_model);

  /// The returned object's series vanish from /metrics when the last holder lets go. While somebody holds one
  /// of the same name and version (it drains while its successor loads), both share it: no series appears
  /// twice.
  std::shared_ptr<ModelMetrics> ForModel(std::string name, std::string version);

  /// The same for a workflow.
  std::shared_ptr<WorkflowMetrics> ForWorkflow(std::string name);

  /// Prometheus text format 0.0.4. `names`: TorchServe's `name[]` filter, exact sample names; empty: all.
  [[nodiscard]] std::string Text(const std::vector<std::string>& names) const;

  /// One answered HTTP request of any listener.
  void CountHttp(int status) { http_[status / 100 < 6 ? static_cast<std::size_t>(status / 100) : 5].Add(); }
  Gauge connections;            // open, all listeners
  Counter connections_refused;  // over the limit
  Counter tls_handshake_failures;
  Gauge tls_certificate_expires;  // seconds since 1970; 0: there is none
  Counter streams_broken;         // answers in parts that ended before their end
  Counter model_load_failures;
  Gauge follow_failing;  // aliases of a registry, see Follower
  Counter spans_exported;
  std::array<Counter, kSpanDropNames.size()> spans_dropped;

 private:
  [[nodiscard]] MetricInputs Inputs() const;

  std::array<Counter, 6> http_;  // by first digit of the status
  const bool torchserve_names_;
  std::unique_ptr<TorchServeMetrics> torchserve_;
  std::array<std::string, 3> instance_;  // service, revision, configuration
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<ModelMetrics>> models_;        // guarded by mutex_
  std::vector<std::weak_ptr<WorkflowMetrics>> workflows_;  // guarded by mutex_
};

}  // namespace serve
