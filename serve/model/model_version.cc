#include "serve/model/model_version.h"

#include <algorithm>
#include <exception>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <time.h>
#include <utility>

#include <fmt/format.h>

#include "handlers/infer/protocol.h"
#include "serve/base/log.h"
#include "serve/base/random_id.h"
#include "serve/base/thread_slice.h"
#include "serve/model/decode_stage.h"

namespace serve {
namespace {

// A batch that takes this many times longer than it may on a caller's thread is the last one there: the
// model's time depends on what is in its input, and an I/O thread must not wait for it twice.
constexpr int kStrikeFactor = 20;
constexpr std::chrono::milliseconds kSlowModel{10};

/// CPU time of the calling thread: unlike the clock it does not count time in which other processes ran.
std::chrono::nanoseconds ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// A client that begins a sequence may leave its name to the server.
std::shared_ptr<const SequenceAsk> WithId(std::shared_ptr<const SequenceAsk> ask) {
  if (ask && !ask->id.empty()) return ask;
  SequenceAsk named;
  if (ask) named = *ask;
  named.id = "ts-seq-";
  AppendRandomId(named.id);
  named.start = true;
  return std::make_shared<const SequenceAsk>(std::move(named));
}

/// For requests that are traced.
void NoteStart(const Batch& batch) {
  TimePoint now{};
  for (const Waiting& item : batch.items) {
    RequestTrace* trace = item.context.trace;
    if (trace == nullptr) continue;
    if (now == TimePoint()) now = SteadyClock::now();
    if (trace->batches++ == 0) trace->started = now;
    trace->batch_requests = static_cast<std::int64_t>(batch.items.size());
    trace->batch_rows = batch.rows;
  }
}

void NoteComputed(std::span<Waiting> part, TimePoint now) {
  for (const Waiting& item : part) {
    if (item.context.trace != nullptr) item.context.trace->computed = now;
  }
}

const TraceContext* TraceOf(const Waiting& item) {
  return item.context.trace == nullptr ? nullptr : &item.context.trace->context;
}

double Seconds(SteadyClock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

struct ModelVersion::Worker {
  int id = 0;
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
  bool stopping = false;
  bool done = false;
  std::jthread thread;  // last: joined before the rest dies
};

ModelVersion::ModelVersion(VersionInfo info, VersionOptions options, std::unique_ptr<Runtime> runtime,
                           std::unique_ptr<Handler> handler, std::shared_ptr<ModelMetrics> metrics,
                           std::filesystem::path folder)
    : info_(std::move(info)),
      options_(options),
      handler_(std::move(handler)),
      generates_(handler_->Generates()),
      metrics_(std::move(metrics)),
      folder_(std::move(folder)),
      queue_(info_.name, options_.scheduler, *metrics_),
      sequences_(options_.sequences.enabled
                     ? std::make_unique<SequenceTable>(
                           info_.name, options_.sequences, [this] { return handler_->BeginSequence(); },
                           [this](Waiting waiting, bool wake) { return Queue(std::move(waiting), wake); })
                     : nullptr),
      runtime_(std::move(runtime)),
      intra_op_threads_(std::max(1, options.intra_op_threads)),
      inline_again_(handler_->Decodes() || generates_ ? TimePoint::max() : TimePoint()) {}

ModelVersion::~ModelVersion() {
  (void)Close(TimePoint::max());
  if (!folder_.empty()) {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
    if (error) LogWarning("cannot remove {}: {}", folder_.string(), error.message());
  }
}

ModelVersion::Submitted ModelVersion::Submit(Request request, RequestContext context,
                                             UniqueFunction<void(Result<Computed>)> done) {
  metrics_->requests.Add();
  if (context.trace != nullptr) {
    context.trace->model = info_.name;
    context.trace->version = info_.version;
  }
  if (context.deadline == TimePoint::max()) context.deadline = context.arrival + options_.DefaultDeadline();
  Submitted submitted{context.deadline};
  if (running_.load(std::memory_order_relaxed) == 0) {
    Reject(RejectReason::kNoWorker);
    done(Status{Code::kUnavailable,
                fmt::format("Model \"{}\" has no worker to serve inference request. Please use scale "
                            "workers API to add workers.",
                            info_.name)});
    return submitted;
  }
  const TimePoint start = SteadyClock::now();
  Result<Sample> sample = PrepareAs(*handler_, std::move(request));
  const TimePoint prepared = SteadyClock::now();
  if (context.trace != nullptr) {
    context.trace->prepare_start = start;
    context.trace->queued = prepared;
  }
  metrics_->prepare.Observe(Seconds(prepared - start));
  if (!sample) {
    Reject(RejectReason::kBadInput);
    done(sample.error());
    return submitted;
  }
  metrics_->in_flight.Add(1);
  std::shared_ptr<const SequenceAsk> sequence;
  if (sequences_) {
    sequence = WithId(sample->hint.sequence ? std::move(sample->hint.sequence) : std::move(context.sequence));
    sample->hint.sequence = sequence;
  } else {
    sample->hint.sequence.reset();  // one that the body names means nothing here
  }
  const RenderHint hint = sample->hint;
  Responder responder([this, hint, done = std::move(done)](Result<Output> output) mutable {
    metrics_->in_flight.Add(-1);
    if (output) {
      done(Computed{std::move(*output), hint});
    } else {
      done(output.error());
    }
  });
  const bool run_here = RunsOnCaller();
  Waiting waiting{std::move(*sample), std::move(context), std::move(responder), prepared};
  const bool queued = sequence ? sequences_->Push(std::move(waiting), *sequence, !run_here)
                               : queue_.Push(std::move(waiting), !run_here);
  submitted.run_here = queued && run_here;
  return submitted;
}

/// What waited behind another request of its sequence may find the workers gone.
bool ModelVersion::Queue(Waiting waiting, bool wake_worker) {
  if (RunningWorkers() > 0 || closing()) return queue_.Push(std::move(waiting), wake_worker);
  Reject(RejectReason::kNoWorker);
  std::move(waiting.responder).Send(ScaledToZero());
  return false;
}

Status ModelVersion::ScaledToZero() const {
  return {Code::kUnavailable, fmt::format("Model \"{}\" was scaled to 0 workers.", info_.name)};
}

bool ModelVersion::RunsOnCaller() const {
  const std::chrono::nanoseconds alone = queue_.times().Predict(1);
  if (alone.count() == 0 || alone > options_.inline_limit) return false;
  const TimePoint again = inline_again_.load(std::memory_order_relaxed);
  return again == TimePoint() || SteadyClock::now() >= again;
}

bool ModelVersion::RunBorrowed() {
  std::optional<Batch> batch = queue_.Borrow(options_.inline_limit);
  if (!batch) return false;
  runtime()->PrepareThread(
      1);  // a second thread would cost more than the batch, and spin beside the next one
  RunWatched(std::move(*batch));
  return queue_.Waits();
}

/// Runs a batch of a version that may run on a caller's thread; one that was slow keeps it away from there.
/// It counts on a worker as well, since the worker may take the first batches before it was ever idle.
void ModelVersion::RunWatched(Batch batch) {
  const std::chrono::nanoseconds limit =
      std::max<std::chrono::nanoseconds>(options_.inline_limit, queue_.times().Predict(batch.rows)) *
      kStrikeFactor;
  // The clock is asked for every batch, the kernel for what this thread used only now and then, since that
  // costs as much as a part of a small model. Between two times it used no more than what went by.
  struct Mark {
    TimePoint at;
    std::chrono::nanoseconds used;
  };
  thread_local Mark mark{};
  const TimePoint start = SteadyClock::now();
  if (start - mark.at > options_.inline_limit * kStrikeFactor / 4) mark = {start, ThreadTime()};
  RunBatch(std::move(batch));
  const std::chrono::nanoseconds took = SteadyClock::now() - start;
  if (took <= limit || ThreadTime() - mark.used - (start - mark.at) <= limit) return;
  constexpr int kMostDoublings = 12;  // about eleven hours
  const int strikes = std::min(inline_strikes_.fetch_add(1, std::memory_order_relaxed), kMostDoublings);
  const std::chrono::milliseconds pause = options_.inline_pause * (1 << strikes);
  inline_again_.store(SteadyClock::now() + pause, std::memory_order_relaxed);
  LogWarning(
      "model {} version {}: a batch took {} ms, too long for an I/O thread; for the next {} s it runs on "
      "workers only",
      info_.name, info_.version, took / std::chrono::milliseconds(1), pause / std::chrono::seconds(1));
}

Result<Response> ModelVersion::Render(const Output& output, const RenderHint& hint, TimePoint arrival) {
  const TimePoint start = SteadyClock::now();
  // Without tensors: the client has got everything in parts.
  Result<Response> response = Response();
  if (!generates_ || !output.tensors.empty())
    response = RenderAs(*handler_, output, hint, info_.name, info_.version);
  const TimePoint end = SteadyClock::now();
  metrics_->render.Observe(Seconds(end - start));
  metrics_->total.Observe(Seconds(end - arrival));
  metrics_->latency_nanos.Add(
      static_cast<std::uint64_t>(std::max<SteadyClock::rep>((end - arrival).count(), 0)));
  (response ? metrics_->succeeded : metrics_->failed).Add();
  return response;
}

Result<Response> ModelVersion::RenderUncounted(const Output& output, const RenderHint& hint) const {
  return RenderAs(*handler_, output, hint, info_.name, info_.version);
}

void ModelVersion::RunWorker(Worker& worker, const std::stop_token& stop) {
  constexpr std::size_t kLongestName = 15;  // Linux keeps no more
  pthread_setname_np(pthread_self(), ("run-" + info_.name).substr(0, kLongestName).c_str());
  Count(WorkerState::kReady, 1);
  while (std::optional<Batch> batch = queue_.PopBatch(stop)) {
    Count(WorkerState::kReady, -1);
    Count(WorkerState::kBusy, 1);
    if (queue_.times().Predict(1) > options_.inline_limit) GoBehindOthers(options_.slow_worker_nice);
    runtime()->PrepareThread(intra_op_threads_.load(std::memory_order_relaxed));
    if (RunsOnCaller()) {
      RunWatched(std::move(*batch));
    } else {
      RunBatch(std::move(*batch));
    }
    Count(WorkerState::kBusy, -1);
    Count(WorkerState::kReady, 1);
  }
  Count(WorkerState::kReady, -1);
  {
    std::lock_guard lock(mutex_);
    worker.done = true;
  }
  worker_done_.notify_all();
}

void ModelVersion::RunBatch(Batch batch) {
  NoteStart(batch);
  const std::size_t taken = batch.items.size();
  if (handler_->Decodes()) DecodeSamples(*handler_, batch, *metrics_);
  if (batch.items.empty()) return queue_.Finished(taken);
  RunPart(batch.items);
  queue_.Finished(taken);
}

/// Runs the requests of `part` together; when that fails, in halves, until the request that spoils it stands
/// alone and is the only one that fails.
void ModelVersion::RunPart(std::span<Waiting> part) {
  std::vector<const Sample*> samples;
  samples.reserve(part.size());
  std::int64_t rows = 0;
  for (const Waiting& item : part) {
    samples.push_back(&item.sample);
    rows += item.sample.rows;
  }
  const TimePoint start = SteadyClock::now();
  Result<std::vector<Output>> outputs = Compute(samples);
  const TimePoint end = SteadyClock::now();
  // Before anybody has an answer, so that whoever has one finds it counted.
  metrics_->inference.Observe(Seconds(end - start));
  if (outputs) queue_.times().Record(rows, end - start);
  NoteComputed(part, end);
  if (outputs && generates_) {
    Advance(part, *outputs);
  } else if (outputs) {
    for (std::size_t i = 0; i < part.size(); ++i) std::move(part[i].responder).Send(std::move((*outputs)[i]));
  } else if (part.size() == 1) {
    metrics_->failed.Add();
    const LogTrace trace(TraceOf(part[0]));
    LogWarning("model {} version {}: {}", info_.name, info_.version, outputs.error().message);
    std::move(part[0].responder).Send(outputs.error());
  } else {
    const std::size_t half = part.size() / 2;
    metrics_->batch_retries.Add(2);
    RunPart(part.first(half));
    RunPart(part.subspan(half));
  }
}

/// What the run means to each request: a part for its client, and another run or the end.
void ModelVersion::Advance(std::span<Waiting> part, const std::vector<Output>& outputs) {
  std::vector<Waiting> unfinished;
  for (std::size_t i = 0; i < part.size(); ++i) {
    Waiting& item = part[i];
    const RenderHint hint = item.sample.hint;
    Result<Step> step = Step();
    try {
      step = handler_->Next(outputs[i], std::move(item.sample));
    } catch (const std::exception& error) {
      step = Status{Code::kPredictionFailed, fmt::format("Prediction failed: {}", error.what())};
    }
    if (!step) {
      metrics_->failed.Add();
      const LogTrace trace(TraceOf(item));
      LogWarning("model {} version {}: {}", info_.name, info_.version, step.error().message);
      std::move(item.responder).Send(step.error());
      continue;
    }
    // What is finished by one part is answered as any other request.
    const bool in_parts = hint.stream && item.context.parts != nullptr && (step->more || item.streaming);
    if (in_parts && !step->part.empty()) {
      item.streaming = true;
      item.context.parts->Put(step->part, handler_->PartType(hint), item.context.cancelled);
    }
    if (step->more) {
      item.sample = std::move(*step->more);
      unfinished.push_back(std::move(item));
    } else {
      std::move(item.responder).Send(item.streaming ? Output() : std::move(step->answer));
    }
  }
  if (unfinished.empty()) return;
  queue_.Return(std::move(unfinished));
  if (RunningWorkers() == 0 && !closing()) {  // scaled to none meanwhile: nobody would take them
    queue_.AnswerAll(ScaledToZero());
  }
}

Result<std::vector<Output>> ModelVersion::Compute(const std::vector<const Sample*>& samples) const try {
  const Result<std::vector<Tensor>> inputs = handler_->Collate(samples);
  if (!inputs) return inputs.error();
  const Result<RunOutputs> ran = runtime()->Run(*inputs);
  if (!ran) return ran.error();
  return handler_->Split(ran->tensors, ran->names, samples);
} catch (const std::exception& error) {  // a worker survives whatever a handler or runtime forgot to catch
  return Status{Code::kPredictionFailed, fmt::format("Prediction failed: {}", error.what())};
}

Result<Output> ModelVersion::Check(const Sample& sample) {
  runtime()->PrepareThread(intra_op_threads_);
  // Two rows at once find out most in the time that the first run takes anyway.
  const std::size_t count = options_.scheduler.batch_size >= 2 * sample.rows ? 2 : 1;
  TimePoint start = SteadyClock::now();
  Result<std::vector<Output>> outputs = Compute(std::vector<const Sample*>(count, &sample));
  SteadyClock::duration took = (SteadyClock::now() - start) / static_cast<int>(count);
  if (!outputs) {
    if (count == 1) return outputs.error();
    if (const auto alone = Compute({&sample}); !alone) return alone.error();
    return Status{outputs.error().code,
                  fmt::format("a batch of 2 fails: {} (batch_size {} needs a model that takes several rows)",
                              outputs.error().message, options_.scheduler.batch_size)};
  }
  if (took < kSlowModel) {  // the first run of a small model is no measure
    start = SteadyClock::now();
    if (const auto again = Compute({&sample}); !again) return again.error();
    took = SteadyClock::now() - start;
  }
  queue_.times().Learn(sample.rows, took);
  return std::move(outputs->front());
}

std::shared_ptr<Runtime> ModelVersion::runtime() const {
  std::lock_guard lock(runtime_mutex_);
  return runtime_;
}

void ModelVersion::Use(const SearchResult& choice) {
  std::vector<std::int64_t> sizes;
  for (const auto& [rows, took] : choice.times) {
    queue_.times().Learn(rows, took);
    if (choice.runtime->WantsSpecializedShapes()) sizes.push_back(rows);
  }
  queue_.SetSizes(std::move(sizes));
  intra_op_threads_ = choice.threads;
  std::shared_ptr<Runtime> old = choice.runtime;
  {
    std::lock_guard lock(runtime_mutex_);
    runtime_.swap(old);
  }
}

void ModelVersion::SetTuning(nlohmann::ordered_json report) {
  std::lock_guard lock(runtime_mutex_);
  tuning_ = std::move(report);
}

nlohmann::ordered_json ModelVersion::tuning() const {
  std::lock_guard lock(runtime_mutex_);
  return tuning_;
}

std::vector<std::int64_t> ModelVersion::SizesToForm() const {
  std::vector<std::int64_t> sizes{1};
  while (sizes.back() * 2 <= options_.scheduler.batch_size) sizes.push_back(sizes.back() * 2);
  if (sizes.back() != options_.scheduler.batch_size) sizes.push_back(options_.scheduler.batch_size);
  return sizes;
}

Result<std::vector<SizedBatch>> ModelVersion::Batches(const Sample& sample) const {
  std::vector<SizedBatch> batches;
  for (const std::int64_t size : SizesToForm()) {
    const auto count = static_cast<std::size_t>(std::max<std::int64_t>(size / sample.rows, 1));
    const auto rows = static_cast<std::int64_t>(count) * sample.rows;
    if (!batches.empty() && batches.back().rows == rows) continue;
    const std::vector<const Sample*> samples(count, &sample);
    if (const auto first = handler_->Collate(samples); !first) return first.error();  // pays for fresh memory
    const TimePoint start = SteadyClock::now();
    Result<std::vector<Tensor>> inputs = handler_->Collate(samples);
    const TimePoint end = SteadyClock::now();
    if (!inputs) return inputs.error();
    batches.push_back({rows, std::move(*inputs), end - start});
  }
  return batches;
}

Status ModelVersion::WarmUp(const Sample& sample) {
  const Result<std::vector<SizedBatch>> batches = Batches(sample);
  if (!batches) return batches.error();
  const Result<SearchResult> ready =
      MakeReady(runtime(), kPlainVariant, intra_op_threads_, *batches, [] { return false; });
  if (!ready) return ready.error();
  Use(*ready);
  return {};
}

void ModelVersion::RunWorkers(int low, int high) {
  int running = running_.load();
  for (auto worker = workers_.rbegin(); worker != workers_.rend() && running > high; ++worker) {
    if ((*worker)->stopping) continue;
    (*worker)->stopping = true;
    (*worker)->thread.request_stop();
    --running;
  }
  for (; running < low; ++running) {
    auto worker = std::make_unique<Worker>();
    worker->id = next_id_++;
    Worker& started = *worker;
    workers_.push_back(std::move(worker));
    started.thread =
        std::jthread([this, &started](const std::stop_token& stop) { RunWorker(started, stop); });
  }
  running_ = running;
  queue_.Wake();
}

int ModelVersion::Resize(int count) {
  std::vector<std::unique_ptr<Worker>> finished;  // joined after the lock is released
  const std::lock_guard lock(mutex_);
  if (closing_) return running_;
  for (auto& worker : workers_) {
    if (worker->done) finished.push_back(std::move(worker));
  }
  std::erase(workers_, nullptr);
  const int wanted = std::clamp(count, min_workers_.load(), std::max(max_workers_, min_workers_.load()));
  RunWorkers(wanted, wanted);
  return running_;
}

int ModelVersion::MaxWorkers() const {
  const std::lock_guard lock(mutex_);
  return max_workers_;
}

std::chrono::nanoseconds ModelVersion::QueueTime() const {
  const auto depth = static_cast<std::int64_t>(queue_.Depth());
  if (depth == 0) return {};
  const std::int64_t rows = std::min(depth, options_.scheduler.batch_size);
  const std::int64_t batches = (depth + rows - 1) / rows;
  return queue_.times().Predict(rows) * batches / std::max(1, RunningWorkers());
}

void ModelVersion::NoteAutoscaled(std::string what) {
  const std::lock_guard lock(mutex_);
  ++autoscaled_times_;
  autoscaled_ = std::move(what);
}

std::pair<int, std::string> ModelVersion::autoscaled() const {
  const std::lock_guard lock(mutex_);
  return {autoscaled_times_, autoscaled_};
}

void ModelVersion::Scale(int min, int max, bool wait) {
  std::vector<std::unique_ptr<Worker>> finished;  // joined after the lock is released
  {
    std::unique_lock lock(mutex_);
    std::erase_if(workers_, [&](std::unique_ptr<Worker>& worker) {
      if (worker->done) finished.push_back(std::move(worker));
      return worker == nullptr;
    });
    min_workers_ = min;
    max_workers_ = max;
    RunWorkers(min, max);
    if (wait) {
      worker_done_.wait(lock, [&] {
        return std::none_of(workers_.begin(), workers_.end(),
                            [](const auto& worker) { return worker->stopping && !worker->done; });
      });
    }
  }
  // Nobody would ever take what still waits.
  if (max == 0) queue_.AnswerAll(ScaledToZero());
}

bool ModelVersion::Close(TimePoint deadline) {
  closing_ = true;
  queue_.Close();
  std::unique_lock lock(mutex_);
  const auto all_done = [&] {
    return std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) { return worker->done; });
  };
  if (deadline == TimePoint::max()) {
    worker_done_.wait(lock, all_done);
  } else if (!worker_done_.wait_until(lock, deadline, all_done)) {
    lock.unlock();
    queue_.AnswerAll({Code::kUnavailable,
                      fmt::format("Model \"{}\" is being unloaded or the server is stopping.", info_.name)});
    return false;
  }
  running_ = 0;
  std::vector<std::unique_ptr<Worker>> finished = std::move(workers_);
  workers_.clear();
  lock.unlock();
  finished.clear();  // joins
  queue_.AnswerAll({Code::kUnavailable, fmt::format("Model \"{}\" is being unloaded.", info_.name)});
  return true;
}

void ModelVersion::SetLoadTime(SteadyClock::duration took) {
  load_time_ = std::chrono::duration_cast<std::chrono::milliseconds>(took);
  metrics_->load.Observe(Seconds(took));
}

VersionStatus ModelVersion::Read() const {
  VersionStatus status;
  status.queue_capacity = queue_.capacity();
  status.pending = queue_.Depth();
  std::lock_guard lock(mutex_);
  status.min_workers = min_workers_;
  status.max_workers = max_workers_;
  for (const auto& worker : workers_) {
    if (!worker->done) status.workers.push_back({worker->id, worker->started, !worker->stopping});
  }
  return status;
}

}  // namespace serve
