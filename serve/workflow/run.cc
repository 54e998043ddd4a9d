#include "serve/workflow/run.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace serve {
namespace {

/// More than a string keeps inside itself: views into it stay valid when it is moved.
constexpr std::size_t kOutsideString = 64;

/// What one node gives to those after it.
struct Value {
  Request request;
  bool of_client = false;  // the client sent these bytes
};
using SharedValue = std::shared_ptr<Value>;

/// Types of answers live as long as the program, those of requests do not.
std::string_view LastingType(std::string_view type) {
  static constexpr std::array<std::string_view, 8> kKnown = {
      "application/json", "text/plain", "application/octet-stream", "image/jpeg", "image/png", "image/webp",
      "text/csv",         "text/html"};
  const auto found = std::find(kKnown.begin(), kKnown.end(), type);
  return found == kKnown.end() ? "application/octet-stream" : *found;
}

/// Codes of a model that say that its input is wrong, or that it is not there.
bool BlamesTheCaller(Code code) {
  static constexpr std::array kCodes = {Code::kInvalidArgument, Code::kUnsupportedMedia,
                                        Code::kPayloadTooLarge, Code::kModelNotFound, Code::kVersionNotFound};
  return std::find(kCodes.begin(), kCodes.end(), code) != kCodes.end();
}

/// A request whose one part is an answer.
Request BodyOf(const Response& response) {
  Request request;
  request.body = Buffer(std::string_view(response.body));
  request.parts.push_back({"body", request.body.view(), response.content_type});
  request.body_is_part = true;
  return request;
}

/// Behind `text` and the blanks before it; nullopt: something else stands there.
std::optional<std::size_t> Behind(std::string_view body, std::size_t at, std::string_view text) {
  at = std::min(body.find_first_not_of(" \t\r\n", at), body.size());
  return body.substr(at).starts_with(text) ? std::optional(at + text.size()) : std::nullopt;
}

/// Several rows that were sent as `{"instances": …}` are answered as `{"predictions": …}`, which no model
/// reads: they go on as instances.
void PassRowsOn(Request& request) {
  if (!request.body_is_part) return;
  const std::string_view body = request.body.view();
  std::optional<std::size_t> rest = Behind(body, 0, "{");
  if (rest) rest = Behind(body, *rest, "\"predictions\"");
  if (!rest) return;
  constexpr std::string_view kBegin = "{\"instances\"";
  Buffer rows(kBegin.size() + body.size() - *rest);
  std::copy(kBegin.begin(), kBegin.end(), rows.data());
  std::copy(body.begin() + static_cast<std::ptrdiff_t>(*rest), body.end(), rows.data() + kBegin.size());
  request.body = std::move(rows);
  request.parts.front().value = request.body.view();
}

class Run : public std::enable_shared_from_this<Run> {
 public:
  Run(WorkflowHandle workflow, RequestContext context, ModelCall call,
      UniqueFunction<void(Result<Response>)> done)
      : workflow_(std::move(workflow)),
        graph_(workflow_->specification.graph),
        context_(std::move(context)),
        call_(std::move(call)),
        done_(std::move(done)),
        states_(graph_.size()),
        leaves_left_(graph_.leaves.size()) {
    if (!context_.cancelled) context_.cancelled = std::make_shared<std::atomic<bool>>(false);
    for (std::size_t node = 0; node < graph_.size(); ++node) {
      states_[node].missing = graph_.previous[node].size();
      states_[node].inputs.resize(states_[node].missing);
    }
  }

  void Start(Request request) {
    accept_ = std::string(request.accept);
    auto value = std::make_shared<Value>();
    value->request = std::move(request);
    value->of_client = true;
    states_[graph_.start].inputs.push_back(std::move(value));
    ready_.push_back(graph_.start);
    Advance();
  }

 private:
  struct State {
    std::size_t missing = 0;          // of those before it
    std::vector<SharedValue> inputs;  // in the order of Graph::previous; of the start: the request
    int tries = 0;
    std::optional<Response> answer;  // of a leaf
  };

  [[nodiscard]] const NodeSpec& Spec(std::size_t node) const { return workflow_->specification.nodes[node]; }
  [[nodiscard]] bool IsLeaf(std::size_t node) const { return graph_.next[node].empty(); }

  void Advance() try {
    while (done_ && !ready_.empty()) {
      const std::size_t node = ready_.front();
      ready_.pop_front();
      if (!MayStart(node)) return;
      if (Spec(node).function == NodeFunction::kNone) {
        Ask(node);
      } else {
        RunFunction(node);
      }
    }
  } catch (const std::exception& error) {  // out of memory, say
    Finish(Internal(fmt::format("workflow {}: {}", workflow_->name, error.what())));
  }

  bool MayStart(std::size_t node) {
    if (context_.Cancelled()) {
      Finish(Status{Code::kUnavailable, "nobody waits for the answer any more"});
    } else if (SteadyClock::now() >= context_.deadline) {
      Finish(Status{Code::kDeadlineExceeded,
                    fmt::format("the deadline passed before node {} could start", graph_.names[node])});
    } else {
      return true;
    }
    return false;
  }

  // --- models

  void Ask(std::size_t node) {
    State& state = states_[node];
    ++state.tries;
    RequestContext context;
    context.deadline = std::min(context_.deadline, context.arrival + Spec(node).settings.timeout);
    context.priority = context_.priority;
    context.cancelled = context_.cancelled;
    const bool of_client = OfClient(state);
    const std::size_t bytes = InputBytes(state);
    const bool again = state.tries <= Spec(node).settings.retry_attempts && bytes <= kRetryBytes;
    Request request = TakeInput(node, again);
    call_(workflow_->ModelOf(node), std::move(request), std::move(context),
          [self = shared_from_this(), node, again, of_client](Result<Response> answer) {
            self->Answered(node, again, of_client, std::move(answer));
          });
  }

  static bool OfClient(const State& state) {
    return std::all_of(state.inputs.begin(), state.inputs.end(),
                       [](const SharedValue& input) { return input->of_client; });
  }
  static std::size_t InputBytes(const State& state) {
    std::size_t bytes = 0;
    for (const SharedValue& input : state.inputs) bytes += input->request.body.size();
    return bytes;
  }

  /// `keep`: the inputs are needed once more.
  Request TakeInput(std::size_t node, bool keep) {
    State& state = states_[node];
    Request request;
    const bool of_client = OfClient(state);
    if (state.inputs.size() > 1) {
      request = Joined(node);
    } else if (SharedValue& input = state.inputs.front(); !keep && input.use_count() == 1) {
      request = std::move(input->request);
    } else {
      request = CopyRequest(input->request);
    }
    if (!keep) state.inputs.clear();
    if (!of_client) PassRowsOn(request);
    // A model in the middle answers what the next one reads.
    request.accept = IsLeaf(node) && graph_.leaves.size() == 1 ? std::string_view(accept_) : "";
    return request;
  }

  /// One part for each node before, under its name.
  Request Joined(std::size_t node) {
    const State& state = states_[node];
    std::vector<const RequestPart*> inputs;
    std::size_t bytes = 0;
    std::size_t names = kOutsideString;
    for (const SharedValue& input : state.inputs) {
      inputs.push_back(input->request.Input());
      if (inputs.back() != nullptr) bytes += inputs.back()->value.size();
    }
    for (const std::size_t before : graph_.previous[node]) names += graph_.names[before].size();
    Request request;
    request.body = Buffer(bytes);
    request.head.reserve(names);
    std::size_t at = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const std::size_t name_at = request.head.size();
      request.head += graph_.names[graph_.previous[node][i]];
      const std::string_view value = inputs[i] == nullptr ? std::string_view() : inputs[i]->value;
      if (!value.empty()) std::memcpy(request.body.data() + at, value.data(), value.size());
      request.parts.push_back({std::string_view(request.head).substr(name_at),
                               request.body.view().substr(at, value.size()),
                               inputs[i] == nullptr ? "" : LastingType(inputs[i]->content_type)});
      at += value.size();
    }
    return request;
  }

  void Answered(std::size_t node, bool again, bool of_client, Result<Response> answer) try {
    if (!done_) return;
    if (!answer) {
      const Code code = answer.error().code;
      const bool inside = code == Code::kInternal || code == Code::kPredictionFailed;
      if (again && inside && !context_.Cancelled() && SteadyClock::now() < context_.deadline) {
        Ask(node);
      } else {
        Fail(node, answer.error(), of_client);
      }
      return;
    }
    states_[node].inputs.clear();
    if (IsLeaf(node)) {
      GiveLeaf(node, std::move(*answer));
    } else {
      auto value = std::make_shared<Value>();
      value->request = BodyOf(*answer);
      Give(node, std::move(value));
    }
    Advance();
  } catch (const std::exception& error) {
    Finish(Internal(fmt::format("workflow {}: {}", workflow_->name, error.what())));
  }

  // --- functions

  void RunFunction(std::size_t node) {
    State& state = states_[node];
    std::vector<SharedValue> inputs = std::move(state.inputs);
    state.inputs.clear();
    if (Spec(node).function == NodeFunction::kPass) {
      if (!IsLeaf(node)) return Give(node, std::move(inputs.front()));
      const RequestPart* part = inputs.front()->request.Input();
      if (part == nullptr) return Fail(node, InvalidArgument("the request brings no input"), true);
      return GiveLeaf(node, Response{std::string(part->value), LastingType(part->content_type)});
    }
    std::vector<NamedBody> bodies;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const bool is_start = graph_.previous[node].empty();
      const RequestPart* part = inputs[i]->request.Input();
      if (part == nullptr) return Fail(node, InvalidArgument("the request brings no input"), true);
      bodies.push_back({is_start ? "the request" : std::string_view(graph_.names[graph_.previous[node][i]]),
                        part->value, part->content_type});
    }
    const bool of_client =
        std::all_of(inputs.begin(), inputs.end(), [](const SharedValue& input) { return input->of_client; });
    Result<Response> made =
        Spec(node).function == NodeFunction::kMerge ? MergeBodies(bodies) : BestLabel(bodies.front());
    if (!made) return Fail(node, made.error(), of_client);
    if (IsLeaf(node)) return GiveLeaf(node, std::move(*made));
    auto value = std::make_shared<Value>();
    value->request = BodyOf(*made);
    value->of_client = of_client;
    Give(node, std::move(value));
  }

  // --- what a node gave

  void Give(std::size_t node, SharedValue value) {
    for (const std::size_t next : graph_.next[node]) {
      State& state = states_[next];
      const auto& before = graph_.previous[next];
      const auto place = std::lower_bound(before.begin(), before.end(), node) - before.begin();
      state.inputs[static_cast<std::size_t>(place)] = value;
      if (--state.missing == 0) ready_.push_back(next);
    }
  }

  void GiveLeaf(std::size_t node, Response answer) {
    states_[node].answer = std::move(answer);
    if (--leaves_left_ > 0) return;
    if (graph_.leaves.size() == 1) return Finish(std::move(*states_[node].answer));
    std::vector<NamedBody> bodies;
    for (const std::size_t leaf : graph_.leaves) {
      const Response& given = *states_[leaf].answer;
      bodies.push_back({graph_.names[leaf], given.body, given.content_type});
    }
    Result<Response> merged = MergeBodies(bodies);
    if (!merged) return Finish(Internal(merged.error().message));
    Finish(std::move(merged));
  }

  void Fail(std::size_t node, const Status& why, bool of_client) {
    Status status = why;
    // A client can do nothing about an answer that the next model does not understand, or a model that is
    // gone.
    const bool gone = why.code == Code::kModelNotFound || why.code == Code::kVersionNotFound;
    if (BlamesTheCaller(why.code) && (!of_client || gone)) status.code = Code::kInternal;
    status.message = fmt::format("Error executing {}: {}", graph_.names[node], why.message);
    Finish(std::move(status));
  }

  void Finish(Result<Response> result) {
    if (!done_) return;
    const bool failed = !result;
    auto done = std::exchange(done_, nullptr);
    done(std::move(result));
    ready_.clear();
    // What other branches have in queues needs no computing any more.
    if (failed) context_.cancelled->store(true, std::memory_order_relaxed);
  }

  const WorkflowHandle workflow_;
  const Graph& graph_;
  RequestContext context_;
  const ModelCall call_;
  UniqueFunction<void(Result<Response>)> done_;  // empty: answered
  std::string accept_;
  std::vector<State> states_;
  std::deque<std::size_t> ready_;
  std::size_t leaves_left_;
};

}  // namespace

void RunWorkflow(WorkflowHandle workflow, Request request, RequestContext context, ModelCall call,
                 UniqueFunction<void(Result<Response>)> done) {
  std::make_shared<Run>(std::move(workflow), std::move(context), std::move(call), std::move(done))
      ->Start(std::move(request));
}

Request CopyRequest(const Request& request) {
  Request copy;
  copy.body = Buffer(request.body.view());
  copy.head.reserve(std::max(request.head.size(), kOutsideString));
  copy.head = request.head;
  copy.query.reserve(std::max(request.query.size(), kOutsideString));
  copy.query = request.query;
  copy.body_is_part = request.body_is_part;
  copy.protocol = request.protocol;
  copy.json_bytes = request.json_bytes;
  const auto moved = [&](std::string_view view) {
    if (view.empty()) return copy.body.view().substr(0, 0);
    const auto into = [&view](std::string_view from, std::string_view to) -> std::optional<std::string_view> {
      const std::less_equal<const char*> not_after;
      if (view.data() == nullptr || from.empty() || !not_after(from.data(), view.data()) ||
          !not_after(view.data() + view.size(), from.data() + from.size())) {
        return std::nullopt;
      }
      return to.substr(static_cast<std::size_t>(view.data() - from.data()), view.size());
    };
    if (const auto body = into(request.body.view(), copy.body.view())) return *body;
    if (const auto head = into(request.head, copy.head)) return *head;
    if (const auto query = into(request.query, copy.query)) return *query;
    return view;  // a literal
  };
  copy.accept = moved(request.accept);
  for (const RequestPart& part : request.parts) {
    copy.parts.push_back({moved(part.name), moved(part.value), moved(part.content_type)});
  }
  return copy;
}

}  // namespace serve
