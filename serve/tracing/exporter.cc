#include "serve/tracing/exporter.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <pthread.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/base/gzip.h"
#include "serve/base/log.h"
#include "serve/tracing/otlp_json.h"

namespace serve {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRequestsPerCall = 512;
constexpr int kAttempts = 5;
constexpr int kNice = 10;  // requests first
constexpr milliseconds kLongestPause{30'000};

bool MayRetry(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

std::size_t SpansIn(const std::vector<RequestSpan>& block) {
  std::size_t count = 0;
  for (const RequestSpan& span : block) count += span.count();
  return count;
}

/// What a collector that took the call has refused of it.
std::size_t RejectedSpans(const std::string& body) {
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains("partialSuccess") || !json["partialSuccess"].is_object()) return 0;
  const auto& partial = json["partialSuccess"];
  const auto rejected = partial.find("rejectedSpans");
  if (rejected == partial.end()) return 0;
  if (rejected->is_number_unsigned()) return rejected->get<std::size_t>();
  std::size_t count = 0;
  if (rejected->is_string()) {
    const std::string text = rejected->get<std::string>();
    std::from_chars(text.data(), text.data() + text.size(), count);
  }
  return count;
}

}  // namespace

milliseconds RetryPause(std::string_view retry_after, int attempt) {
  std::int64_t seconds = 0;
  const char* end = retry_after.data() + retry_after.size();
  const auto [read, error] = std::from_chars(retry_after.data(), end, seconds);
  // A date is not worth a parser here.
  if (retry_after.empty() || error != std::errc() || read != end || seconds < 0) seconds = 1LL << attempt;
  return std::min<milliseconds>(std::chrono::seconds(std::min<std::int64_t>(seconds, 3600)), kLongestPause);
}

class SpanExporter::Worker {
 public:
  Worker(TraceExport options, KeyValues resource, std::string version, Metrics& metrics, Call call)
      : options_(std::move(options)),
        resource_(std::move(resource)),
        version_(std::move(version)),
        metrics_(metrics),
        call_(std::move(call)),
        thread_([this] { Run(); }) {}
  ~Worker() {
    RequestStop(Clock::now());
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Take(std::vector<RequestSpan> block) {
    std::size_t dropped = 0;
    {
      const std::lock_guard lock(mutex_);
      const std::size_t room = ended_ ? 0 : options_.queue - std::min(options_.queue, waiting_.size());
      const std::size_t taken = std::min(room, block.size());
      for (std::size_t i = taken; i < block.size(); ++i) dropped += block[i].count();
      std::move(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(taken),
                std::back_inserter(waiting_));
      if (waiting_.size() >= kRequestsPerCall) changed_.notify_one();
    }
    if (dropped > 0) Drop(SpanDrop::kQueueFull, dropped);
  }

  bool Stop(milliseconds patience) {
    RequestStop(Clock::now() + patience);
    std::unique_lock lock(mutex_);
    const bool done = changed_.wait_until(lock, deadline_, [this] { return ended_; });
    std::size_t left = 0;
    for (const RequestSpan& span : waiting_) left += span.count();
    waiting_.clear();
    lock.unlock();
    if (left > 0) Drop(SpanDrop::kShutdown, left);
    return done;
  }

 private:
  void RequestStop(Clock::time_point deadline) {
    const std::lock_guard lock(mutex_);
    if (!stopping_) deadline_ = deadline;
    stopping_ = true;
    changed_.notify_all();
  }

  void Run() {
    pthread_setname_np(pthread_self(), "traces");
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);  // of this thread alone
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait_for(lock, options_.interval,
                        [this] { return stopping_ || waiting_.size() >= kRequestsPerCall; });
      while (!waiting_.empty()) {
        const std::size_t size = std::min(kRequestsPerCall, waiting_.size());
        const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(size);
        std::vector<RequestSpan> block(std::make_move_iterator(waiting_.begin()),
                                       std::make_move_iterator(end));
        waiting_.erase(waiting_.begin(), end);
        lock.unlock();
        Send(block);
        lock.lock();
        if (waiting_.size() < kRequestsPerCall && !stopping_) break;  // gathers again
      }
      if (stopping_ && waiting_.empty()) break;
    }
    ended_ = true;
    changed_.notify_all();
  }

  void Send(const std::vector<RequestSpan>& block) {
    HttpCall call;
    call.method = "POST";
    call.url = options_.endpoint;
    call.headers = {{"Content-Type", "application/json"}};
    call.headers.insert(call.headers.end(), options_.headers.begin(), options_.headers.end());
    call.start_advice = "trace_endpoint says where the collector is";
    const auto offset = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::system_clock::now().time_since_epoch() - Clock::now().time_since_epoch());
    call.body = OtlpJson(block, resource_, version_, offset);
    if (options_.gzip) Pack(call);
    const std::size_t spans = SpansIn(block);
    for (int attempt = 0;; ++attempt) {
      call.timeout = TimeForCall();
      call.connect_timeout = std::min(call.timeout, milliseconds(5'000));
      if (call.timeout.count() <= 0) return Drop(SpanDrop::kShutdown, spans);
      const Result<HttpAnswer> answer = call_(call);
      if (answer && answer->status / 100 == 2) return Sent(spans, RejectedSpans(answer->body));
      if (answer && !MayRetry(answer->status)) {
        Failed(fmt::format("it answered {}: {}", answer->status, answer->body.substr(0, 200)));
        return Drop(SpanDrop::kRefused, spans);
      }
      Failed(answer ? fmt::format("it answers {}", answer->status) : answer.error().message);
      if (attempt + 1 == kAttempts) return Drop(SpanDrop::kUnreachable, spans);
      // At a stop the collector gets one more chance, and no pause.
      if (Pause(RetryPause(answer ? answer->Header("retry-after") : "", attempt))) attempt = kAttempts - 2;
    }
  }

  static void Pack(HttpCall& call) {
    std::string packed = Gzip(call.body);
    if (packed.empty()) return;  // no memory: as it is
    call.body = std::move(packed);
    call.headers.emplace_back("Content-Encoding", "gzip");
  }

  /// At a stop only what is left until its deadline.
  milliseconds TimeForCall() {
    const std::lock_guard lock(mutex_);
    if (!stopping_) return options_.timeout;
    return std::min(options_.timeout, std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now()));
  }
  bool Pause(milliseconds pause) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, pause, [this] { return stopping_; });
  }

  void Sent(std::size_t spans, std::size_t rejected) {
    rejected = std::min(rejected, spans);
    metrics_.spans_exported.Add(spans - rejected);
    if (rejected > 0) Drop(SpanDrop::kRefused, rejected);
    if (std::exchange(failing_, false)) LogInfo("Traces reach {} again.", options_.endpoint);
  }
  void Failed(const std::string& why) {
    if (std::exchange(failing_, true)) return;
    LogWarning("traces do not reach the collector {}: {}", options_.endpoint, why);
  }
  void Drop(SpanDrop reason, std::size_t spans) {
    metrics_.spans_dropped[static_cast<std::size_t>(reason)].Add(spans);
  }

  const TraceExport options_;
  const KeyValues resource_;
  const std::string version_;
  Metrics& metrics_;
  const Call call_;
  bool failing_ = false;  // the thread's

  std::mutex mutex_;  // guards everything below
  std::condition_variable changed_;
  std::deque<RequestSpan> waiting_;
  bool stopping_ = false;
  bool ended_ = false;
  Clock::time_point deadline_{};
  std::thread thread_;  // last: it uses the others
};

SpanExporter::SpanExporter(TraceExport options, const Instance& instance, std::string version,
                           Metrics& metrics, Call call)
    : worker_(std::make_unique<Worker>(options, ResourceAttributes(options, instance, version), version,
                                       metrics, std::move(call))) {}
SpanExporter::~SpanExporter() = default;
void SpanExporter::Take(std::vector<RequestSpan> block) { worker_->Take(std::move(block)); }
bool SpanExporter::Stop(milliseconds patience) { return worker_->Stop(patience); }

}  // namespace serve
