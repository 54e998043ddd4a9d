#include "serve/api/shadow.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/base/log.h"
#include "serve/base/thread_shard.h"
#include "serve/base/unique_function.h"
#include "serve/workflow/run.h"

namespace serve {
namespace {

using nlohmann::json;

/// The member with the largest number; end: some member is none.
json::const_iterator LargestNumber(const json& object) {
  auto largest = object.end();
  for (auto member = object.begin(); member != object.end(); ++member) {
    if (!member->is_number()) return object.end();
    if (largest == object.end() || member->get<double>() > largest->get<double>()) largest = member;
  }
  return largest;
}

void Compare(const json& first, const json& second, double tolerance, AnswerComparison& result) {
  if (first.is_number() && second.is_number()) {
    const double a = first.get<double>();
    const double difference = std::abs(a - second.get<double>()) / std::max(1.0, std::abs(a));
    result.difference = std::max(result.difference, difference);
    if (!(difference <= tolerance)) result.equal = false;
  } else if (first.type() != second.type() || first.size() != second.size()) {
    result.equal = false;
  } else if (first.is_array()) {
    for (std::size_t i = 0; i < first.size(); ++i) Compare(first[i], second[i], tolerance, result);
  } else if (first.is_object()) {
    for (const auto& [name, value] : first.items()) {
      const auto other = second.find(name);
      if (other == second.end()) {
        result.equal = false;
      } else {
        Compare(value, *other, tolerance, result);
      }
    }
    const auto label = LargestNumber(first);
    const auto other = LargestNumber(second);
    if (label != first.end() && other != second.end() && label.key() != other.key()) result.equal = false;
  } else if (first != second) {
    result.equal = false;
  }
}

void KeepLargest(std::atomic<double>& largest, double value) {
  double known = largest.load(std::memory_order_relaxed);
  while (value > known && !largest.compare_exchange_weak(known, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

AnswerComparison CompareAnswers(const Response& first, const Response& second, double tolerance) {
  AnswerComparison result{true, 0};
  const std::string_view first_json =
      std::string_view(first.body).substr(0, first.json_bytes.value_or(first.body.size()));
  const std::string_view second_json =
      std::string_view(second.body).substr(0, second.json_bytes.value_or(second.body.size()));
  json left = json::parse(first_json, nullptr, false);
  json right = json::parse(second_json, nullptr, false);
  if (left.is_discarded() || right.is_discarded()) {
    result.equal = first.body == second.body;
    return result;
  }
  for (json* answer : {&left, &right}) {
    if (answer->is_object()) answer->erase("model_version");
  }
  Compare(left, right, tolerance, result);
  if (first.body.substr(first_json.size()) != second.body.substr(second_json.size())) result.equal = false;
  return result;
}

/// The tasks of the thread. A sender uses the box of its own thread, so that I/O threads and workers do not
/// meet at one lock.
struct Shadow::State {
  struct alignas(64) Box {
    std::mutex mutex;
    std::vector<UniqueFunction<void()>> tasks;  // guarded by mutex
    bool closed = false;                        // guarded by mutex
  };
  std::array<Box, kThreadShards> boxes;
  std::atomic<std::uint32_t> changes{0};
  std::atomic<std::size_t> under_way{0};
  std::atomic<bool> stopped{false};

  void Post(UniqueFunction<void()> task) {
    {
      Box& box = boxes[ThreadShard()];
      const std::lock_guard lock(box.mutex);
      if (box.closed) return;  // the task dies after the lock: its copy is dropped
      box.tasks.push_back(std::move(task));
    }
    changes.fetch_add(1, std::memory_order_release);
    changes.notify_one();
  }

  void Close() {
    stopped = true;
    for (Box& box : boxes) {
      std::vector<UniqueFunction<void()>> dropped;  // dies outside the lock
      const std::lock_guard lock(box.mutex);
      box.closed = true;
      dropped.swap(box.tasks);
    }
    changes.fetch_add(1, std::memory_order_release);
    changes.notify_one();
  }

  void Run() {
    while (!stopped) {
      const std::uint32_t seen = changes.load(std::memory_order_acquire);
      for (Box& box : boxes) {
        std::vector<UniqueFunction<void()>> tasks;
        {
          const std::lock_guard lock(box.mutex);
          tasks.swap(box.tasks);
        }
        for (UniqueFunction<void()>& task : tasks) {
          try {
            task();
          } catch (const std::exception& error) {  // out of memory, say: the copy counts as dropped
            LogWarning("a shadow copy was lost: {}", error.what());
          }
          task = nullptr;
        }
      }
      changes.wait(seen, std::memory_order_acquire);
    }
  }
};

/// Counted once, when it ends, wherever that is.
struct Shadow::Copy {
  Copy(std::shared_ptr<State> owner, ModelHandle handle)
      : state(std::move(owner)), version(std::move(handle)) {}
  ~Copy() {
    version->metrics().shadow[static_cast<std::size_t>(result)].Add();
    state->under_way.fetch_sub(1, std::memory_order_relaxed);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  const std::shared_ptr<State> state;
  const ModelHandle version;
  Request request;
  double tolerance = 0;
  ModelHandle primary;
  Output output;  // of the primary; shares its memory
  RenderHint hint;
  ShadowResult result = ShadowResult::kDropped;

  void Judge(const Result<ModelVersion::Computed>& computed, TimePoint arrival) {
    if (!computed) {
      const Code code = computed.error().code;
      const bool no_room = code == Code::kResourceExhausted || code == Code::kUnavailable;
      result = no_room ? ShadowResult::kDropped : ShadowResult::kFailed;
      return;
    }
    const Result<Response> wanted = primary->RenderUncounted(output, hint);
    if (!wanted) return;
    const Result<Response> got = version->Render(computed->output, computed->hint, arrival);
    result = ShadowResult::kFailed;
    if (!got) return;
    const AnswerComparison compared = CompareAnswers(*wanted, *got, tolerance);
    KeepLargest(version->metrics().shadow_difference, compared.difference);
    result = compared.equal ? ShadowResult::kEqual : ShadowResult::kDifferent;
  }

  /// On the thread of the shadow.
  static void Start(CopyHandle copy) {
    if (copy->version->Busy()) return;
    const ModelHandle target = copy->version;
    RequestContext context;
    context.priority = Priority::kLow;
    const TimePoint arrival = context.arrival;
    Request request = std::move(copy->request);
    const auto submitted =
        target->Submit(std::move(request), std::move(context),
                       [copy = std::move(copy), arrival](Result<ModelVersion::Computed> computed) mutable {
                         State& state = *copy->state;
                         state.Post([copy = std::move(copy), arrival, computed = std::move(computed)] {
                           copy->Judge(computed, arrival);
                         });
                       });
    while (submitted.run_here && target->RunBorrowed()) {
    }
  }
};

void Shadow::FreeCopy::operator()(Copy* copy) const { delete copy; }

Shadow::Shadow(TrafficOptions options) : options_(std::move(options)), state_(std::make_shared<State>()) {}

Shadow::~Shadow() { Stop(); }

void Shadow::Stop() {
  state_->Close();
  std::call_once(started_, [] {});  // nobody starts it any more
  if (thread_.joinable()) thread_.join();
}

Shadow::CopyHandle Shadow::Take(const Request& request, ModelHandle version, double tolerance) {
  const bool room = state_->under_way.fetch_add(1, std::memory_order_relaxed) < options_.shadow_backlog;
  CopyHandle copy(new Copy(state_, std::move(version)));
  if (!room || request.body.size() > options_.shadow_max_body_bytes) return nullptr;
  copy->request = CopyRequest(request);
  copy->tolerance = tolerance;
  return copy;
}

void Shadow::Send(CopyHandle copy, ModelHandle primary, const Output& output, const RenderHint& hint) {
  if (output.tensors.empty()) return;  // the client got the answer in parts
  copy->primary = std::move(primary);
  copy->output = output;
  copy->hint = hint;
  std::call_once(started_, [this] { thread_ = std::jthread([state = state_] { state->Run(); }); });
  state_->Post([copy = std::move(copy)]() mutable { Copy::Start(std::move(copy)); });
}

}  // namespace serve
