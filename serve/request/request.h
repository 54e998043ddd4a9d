#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/base/buffer.h"
#include "serve/base/status.h"
#include "serve/base/unique_function.h"
#include "serve/request/request_trace.h"
#include "serve/request/sequence.h"
#include "serve/request/tensor.h"

namespace serve {

using SteadyClock = std::chrono::steady_clock;
using TimePoint = SteadyClock::time_point;

/// Requests of a higher class leave the queue first; within a class, first come, first served.
enum class Priority : std::uint8_t { kHigh, kNormal, kLow };
inline constexpr int kPriorities = 3;

/// One named input of a request, as TorchServe names them: `body` for a raw body, else the form field or
/// part.
struct RequestPart {
  std::string_view name;
  std::string_view value;         // points into Request::body
  std::string_view content_type;  // without parameters; empty when the client named none
};

/// How the body is to be read and the answer to be written.
enum class Protocol : std::uint8_t {
  kNative,    // as the handler likes it: TorchServe's predictions
  kKServeV1,  // {"instances": [...]} → {"predictions": [...]}
  kKServeV2,  // the open inference protocol's JSON; parts is one raw body
};

struct InferAsk;

/// What a client sent, taken apart as far as HTTP goes. Movable; the views stay valid because Buffer's memory
/// does not move.
struct Request {
  Buffer body;
  std::string head;  // owns the names and content types that `parts` and `accept` point to
  std::vector<RequestPart> parts;
  std::string_view accept;
  std::string query;          // owns the values of parts that came in the query string
  bool body_is_part = false;  // parts is exactly one raw `body`: a handler may take the memory over
  Protocol protocol = Protocol::kNative;
  /// KServe v2: so much of the body is JSON, and raw tensors follow. nullopt: all of it is.
  std::optional<std::size_t> json_bytes{};

  /// The part that handlers read: `data`, else `body`; nullptr when there is neither.
  [[nodiscard]] const RequestPart* Input() const {
    const RequestPart* found = nullptr;
    for (const RequestPart& part : parts) {
      if (part.name == "data") return &part;
      if (part.name == "body") found = &part;
    }
    return found;
  }
};

/// Takes the parts of an answer before its end, in order: a client that reads along gets each as it is made.
///
/// Threads: any, one at a time.
class PartSink {
 public:
  /// Dropped when nobody reads any more. `owner` keeps the sink alive: the context's `cancelled`.
  virtual void Put(std::string_view part, std::string_view content_type,
                   const std::shared_ptr<std::atomic<bool>>& owner) = 0;
  /// The client does not read as fast as parts are made: no more of them until it has read some.
  [[nodiscard]] virtual bool Full() const = 0;

 protected:
  ~PartSink() = default;
};

/// What goes with a request from the socket to the answer.
struct RequestContext {
  TimePoint arrival = SteadyClock::now();
  TimePoint deadline = TimePoint::max();
  Priority priority = Priority::kNormal;
  /// Set by the I/O thread when nobody waits for the answer any more (client gone, deadline answered).
  std::shared_ptr<std::atomic<bool>> cancelled;
  PartSink* parts = nullptr;  // lives as long as `cancelled`; null: the client takes the whole answer only
  std::shared_ptr<const SequenceAsk> sequence{};  // null: the client names none
  RequestTrace* trace = nullptr;                  // lives as long as `cancelled`; null: nobody wants to know

  [[nodiscard]] bool Cancelled() const { return cancelled && cancelled->load(std::memory_order_relaxed); }
};

/// How the answer shall look; chosen by Prepare, read by Render.
struct RenderHint {
  bool single_row = true;  // the request was one row: answer with the row, not with a list of rows
  bool instances = false;  // answer as {"predictions": [...]}
  bool binary = false;     // raw little-endian bytes
  std::shared_ptr<const InferAsk> infer{};  // set: answer as KServe v2
  bool stream = false;  // in parts, where the handler generates and the client reads along
  std::shared_ptr<const SequenceAsk> sequence{};  // set: the client is told its id
};

/// What a handler keeps from one run of the model to the next: of a request whose answer takes several, or of
/// a sequence of requests.
struct SampleState {
  virtual ~SampleState() = default;
};

/// One request, ready to run: what Prepare makes and what the queue holds.
struct Sample {
  std::vector<Tensor> inputs;
  std::int64_t rows = 1;        // how much of batch_size it takes
  std::uint64_t shape_key = 0;  // samples share a batch only when their keys are equal
  RenderHint hint;
  std::shared_ptr<SampleState> state{};  // of handlers that generate, and of sequences
};

/// What the model made of one sample.
struct Output {
  std::vector<Tensor> tensors;     // [rows, ...] each
  std::vector<std::string> names;  // empty: one unnamed tensor
};

/// The answer's body before HTTP.
struct Response {
  std::string body;
  std::string_view content_type = "application/json";  // a literal
  std::optional<std::size_t> json_bytes{};             // set: so much of the body is JSON, raw tensors follow
};

/// Whoever holds it owes the answer; dropping it is answered too. Send may be called on any thread.
class Responder {
 public:
  explicit Responder(UniqueFunction<void(Result<Output>)> send) : send_(std::move(send)) {}
  Responder(Responder&&) noexcept = default;
  Responder& operator=(Responder&&) noexcept = default;
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;
  ~Responder() {
    if (send_) std::move(*this).Send(Internal("the request was dropped before it was answered"));
  }
  void Send(Result<Output> result) && {
    auto send = std::exchange(send_, nullptr);
    send(std::move(result));
  }

 private:
  UniqueFunction<void(Result<Output>)> send_;
};

}  // namespace serve
