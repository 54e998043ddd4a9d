// What a connection notes of a request for its trace.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "serve/http/connection.h"

namespace serve {
namespace {

constexpr std::size_t kLongestState = 512;  // that must be passed on, by W3C's rules
constexpr std::size_t kLongestText = 1024;

bool IsProbe(std::string_view path) {
  return path == "/ping" || path == "/metrics" || path == "/v2/health/ready" || path == "/v2/health/live";
}

/// The caller's tracestate; several fields are one list.
std::string StateOf(const HttpRequest& request) {
  std::string state;
  for (const HttpRequest::Field& field : request.fields) {
    if (!EqualsIgnoreCase(field.name, "tracestate") || field.value.empty()) continue;
    if (state.size() + field.value.size() + 1 > kLongestState) break;
    if (!state.empty()) state += ',';
    state += field.value;
  }
  return state;
}

/// `message` of an error's body.
std::string ErrorText(const std::string& body) {
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  const auto found = json.is_object() ? json.find("message") : json.end();
  if (found == json.end() || !found->is_string()) return {};
  return found->get<std::string>().substr(0, kLongestText);
}

}  // namespace

void Connection::BeginTrace() {
  // Two of them are none: nobody knows which is right.
  const bool once = request_.CountHeaders("traceparent") == 1;
  trace_.context = listener_->tracer->Begin(once ? request_.Header("traceparent") : std::string_view(),
                                            request_.Header("x-cloud-trace-context"));
  // What a platform asks every few seconds would bury the rest.
  if (IsProbe(request_.path)) trace_.context.recorded = false;
}

/// Takes what was noted from the ticket; `answered`: nobody else writes to it any more.
void Connection::KeepTrace(Ticket& ticket, bool answered) {
  if (!ticket.trace) return;
  if (answered) {
    trace_ = std::move(*ticket.trace);
  } else {
    trace_.model = ticket.trace->model;
    trace_.version = ticket.trace->version;
  }
}

void Connection::RecordSpan(int status, TimePoint now) const {
  RequestSpan span;
  span.context = trace_.context;
  span.trace_state = StateOf(request_);
  span.method = request_.method_text;
  if (found_.route != nullptr) span.route = found_.route->pattern;
  span.path = request_.path.substr(0, kLongestText);
  span.host = request_.Header("host");
  span.request_id = request_.request_id;
  span.model = trace_.model;
  span.version = trace_.version;
  span.status = status;
  if (status == 499) {
    span.error = "the client went away before the answer";
  } else if (status >= 500) {
    span.error = ErrorText(reply_.body);
  }
  span.start = request_.arrival;
  span.end = std::max(now, request_.arrival);
  span.batch_requests = trace_.batch_requests;
  span.batch_rows = trace_.batch_rows;
  span.batches = trace_.batches;
  const auto add = [&span](std::string_view name, TimePoint start, TimePoint end) {
    if (start != TimePoint() && end >= start) span.steps.push_back({name, start, end});
  };
  add("prepare", trace_.prepare_start, trace_.queued);
  add("queue", trace_.queued, trace_.started);
  add("batch", trace_.started, trace_.computed);
  if (trace_.computed != TimePoint()) add("render", trace_.render_start, trace_.rendered);
  listener_->tracer->Finish(std::move(span));
}

}  // namespace serve
