#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "handlers/handler.h"
#include "serve/base/status.h"
#include "serve/base/unique_function.h"
#include "serve/model/options.h"
#include "serve/model/sequence_table.h"
#include "serve/model/variant_search.h"
#include "serve/request/request.h"
#include "serve/runtime/runtime.h"
#include "serve/scheduler/batch_queue.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// What the register call said instead of the archive, as texts: a snapshot says it again.
struct CallParameters {
  std::optional<std::string> name;
  std::optional<std::string> version;
  std::optional<std::string> handler;
  std::vector<std::string> inputs;
  std::optional<std::string> batch;
  std::string workflow;  // not empty: the version is a part of it, comes and goes with it
};

/// What is known of a version besides its queue and workers; fixed when it is loaded.
struct VersionInfo {
  std::string name;
  std::string version;
  std::string url;      // as given at registration
  std::string handler;  // `tensor`, `text_classifier`
  std::string runtime = "torchscript";
  std::filesystem::path artifact;  // the model file
  RuntimeOptions loading;          // how it was loaded
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  nlohmann::ordered_json lineage;  // null when the archive brings none
  std::string checked_with;        // what the sanity check ran: "example input", "declared shape", …
  bool loaded_at_startup = false;
  std::string source;  // file or folder of the model store that it was loaded from
  CallParameters call;
  nlohmann::ordered_json extensions;  // the manifest's; null when there are none
  nlohmann::ordered_json origin;      // OriginJson of a model that was fetched into the cache; else null
  std::shared_ptr<const void> lease;  // keeps its files in the cache
};

struct WorkerStatus {
  int id = 0;
  std::chrono::system_clock::time_point started;
  bool ready = false;
};

/// A consistent reading for describe.
struct VersionStatus {
  int min_workers = 0;
  int max_workers = 0;
  std::size_t queue_capacity = 0;
  std::size_t pending = 0;
  std::vector<WorkerStatus> workers;
};

/// One loaded version of a model: weights, handler, queue and workers.
///
/// Threads: Submit and Render from any thread, they never block; Scale and Close from management threads,
/// they wait. Ownership: workers are std::jthreads of this object; the weights are shared by all of them.
class ModelVersion {
 public:
  /// `folder` is removed when the version dies (the unpacked archive); empty: nothing to remove.
  ModelVersion(VersionInfo info, VersionOptions options, std::unique_ptr<Runtime> runtime,
               std::unique_ptr<Handler> handler, std::shared_ptr<ModelMetrics> metrics,
               std::filesystem::path folder);
  ~ModelVersion();
  ModelVersion(const ModelVersion&) = delete;
  ModelVersion& operator=(const ModelVersion&) = delete;

  /// Answer of Submit: the output with what Render needs to know.
  struct Computed {
    Output output;
    RenderHint hint;
  };
  struct Submitted {
    TimePoint
        deadline;  // by which the answer is owed: the request's own, else response_timeout after its arrival
    bool run_here =
        false;  // no worker was woken: the caller calls RunBorrowed() as soon as it has read what is there
  };
  /// Prepare → queue. `done` is called exactly once: here when the request is refused, else later, where it
  /// ran. Errors: kInvalidArgument (bad input), kUnavailable (no worker, closing), kResourceExhausted (queue
  /// full), kDeadlineExceeded, kPredictionFailed.
  Submitted Submit(Request request, RequestContext context, UniqueFunction<void(Result<Computed>)> done);
  Result<Response> Render(const Output& output, const RenderHint& hint, TimePoint arrival);
  /// The same for a comparison: counts nothing.
  [[nodiscard]] Result<Response> RenderUncounted(const Output& output, const RenderHint& hint) const;
  /// Runs one batch on the calling thread in place of an idle worker. True: more requests wait, call again
  /// soon.
  bool RunBorrowed();

  /// Runs the sample on the calling thread, outside the queue, as two requests of a batch where batches may
  /// be formed: the sanity check. Teaches the queue about how long a row takes.
  Result<Output> Check(const Sample& sample);
  /// Runs batches of the sizes that the queue will form, and teaches the queue their times.
  Status WarmUp(const Sample& sample);

  /// How the model is run from the next batch on.
  void Use(const SearchResult& choice);
  [[nodiscard]] std::shared_ptr<Runtime> runtime() const;
  /// The batches that the queue forms, made of `sample`: 1, 2, 4, … rows up to batch_size.
  [[nodiscard]] Result<std::vector<SizedBatch>> Batches(const Sample& sample) const;
  void SetTuning(nlohmann::ordered_json report);
  [[nodiscard]] nlohmann::ordered_json tuning() const;
  [[nodiscard]] bool closing() const { return closing_.load(std::memory_order_relaxed); }

  /// Starts or stops workers so that between `min` and `max` of them run. Workers share the loaded weights,
  /// so starting takes no time; `wait`: return only when surplus workers have finished their last batch.
  void Scale(int min, int max, bool wait);
  /// Lets `count` workers run, within the bounds of the last Scale; gives how many do.
  int Resize(int count);
  [[nodiscard]] int MaxWorkers() const;
  /// Sequences of requests that are open; 0 without sequence batching.
  [[nodiscard]] std::size_t OpenSequences() const { return sequences_ ? sequences_->Open() : 0; }
  /// How long a request that came now would wait, told from what waits and what a batch costs.
  [[nodiscard]] std::chrono::nanoseconds QueueTime() const;
  /// What the autoscaler did last, for describe.
  void NoteAutoscaled(std::string what);
  /// How often it changed the number of workers, and its last words.
  [[nodiscard]] std::pair<int, std::string> autoscaled() const;
  /// A scale call chose the number of workers: a snapshot keeps it.
  void NoteScaled() { scaled_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool scaled() const { return scaled_.load(std::memory_order_relaxed); }
  /// No new request; waiting ones are served until `deadline`, the rest answered. False when a worker was
  /// still busy at the deadline: then the object must be kept, for its worker uses it.
  [[nodiscard]] bool Close(TimePoint deadline);

  /// Called once by the loader, before the version is shared.
  void SetLoadTime(SteadyClock::duration took);
  [[nodiscard]] std::chrono::milliseconds load_time() const { return load_time_; }

  [[nodiscard]] const VersionInfo& info() const { return info_; }
  [[nodiscard]] const VersionOptions& options() const { return options_; }
  [[nodiscard]] const Handler& handler() const { return *handler_; }
  /// What is counted of this version; its instruments are safe for every thread.
  [[nodiscard]] ModelMetrics& metrics() const { return *metrics_; }
  /// Half of the queue or more is taken: what nobody waits for should stay away.
  [[nodiscard]] bool Busy() const { return queue_.Depth() * 2 >= queue_.capacity(); }
  [[nodiscard]] VersionStatus Read() const;
  /// Workers that take work, and the minimum that is wanted.
  [[nodiscard]] int RunningWorkers() const { return running_.load(std::memory_order_relaxed); }
  [[nodiscard]] int MinWorkers() const { return min_workers_.load(std::memory_order_relaxed); }

 private:
  struct Worker;
  void RunWorker(Worker& worker, const std::stop_token& stop);
  void RunBatch(Batch batch);
  void RunWatched(Batch batch);
  bool RunsOnCaller() const;
  void RunWorkers(int low, int high);  // with mutex_ held: as many as now, but between these
  [[nodiscard]] std::vector<std::int64_t> SizesToForm() const;
  void RunPart(std::span<Waiting> part);
  bool Queue(Waiting waiting, bool wake_worker);
  [[nodiscard]] Status ScaledToZero() const;
  void Advance(std::span<Waiting> part, const std::vector<Output>& outputs);
  Result<std::vector<Output>> Compute(const std::vector<const Sample*>& samples) const;
  void Count(WorkerState state, std::int64_t amount) {
    metrics_->workers[static_cast<std::size_t>(state)].Add(amount);
  }
  void Reject(RejectReason reason) { metrics_->rejected[static_cast<std::size_t>(reason)].Add(); }

  const VersionInfo info_;
  const VersionOptions options_;
  const std::unique_ptr<Handler> handler_;
  const bool generates_;
  const std::shared_ptr<ModelMetrics> metrics_;
  const std::filesystem::path folder_;
  std::chrono::milliseconds load_time_{0};
  BatchQueue queue_;
  const std::unique_ptr<SequenceTable> sequences_;  // null: requests stand alone

  mutable std::mutex runtime_mutex_;  // guards the next two; held for a copy only
  std::shared_ptr<Runtime> runtime_;
  nlohmann::ordered_json tuning_;
  std::atomic<int> intra_op_threads_;
  std::atomic<bool> closing_{false};
  std::atomic<bool> scaled_{false};

  // Not on a caller's thread before then: a batch took too long, so often. For ever: it decodes, or
  // generates.
  std::atomic<TimePoint> inline_again_;
  std::atomic<int> inline_strikes_{0};
  std::atomic<int> min_workers_{0};
  std::atomic<int> running_{0};  // workers that will take work; Submit refuses at 0
  mutable std::mutex mutex_;     // guards everything below, and Worker::done
  std::condition_variable worker_done_;
  std::vector<std::unique_ptr<Worker>> workers_;
  int max_workers_ = 0;
  int autoscaled_times_ = 0;
  std::string autoscaled_;
  int next_id_ = 9000;  // TorchServe's ids start at 9000
};

/// A counted lease: the version stays alive as long as somebody holds one.
using ModelHandle = std::shared_ptr<ModelVersion>;

}  // namespace serve
