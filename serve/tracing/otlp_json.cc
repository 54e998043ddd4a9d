#include "serve/tracing/otlp_json.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <unistd.h>
#include <utility>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "serve/base/log_fields.h"

namespace serve {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

constexpr int kInternal = 1;
constexpr int kServer = 2;

/// Without the port; the colons of an IPv6 address stand in brackets.
std::string_view HostOnly(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  return colon == std::string_view::npos || host.ends_with(']') ? host : host.substr(0, colon);
}

/// Writes the text itself: a tree of JSON values would cost several times as much, beside the requests.
class Encoder {
 public:
  explicit Encoder(std::chrono::nanoseconds offset) : offset_(offset) {}

  void Text(std::string_view key, std::string_view value) {
    if (value.empty()) return;
    fmt::format_to(to_, FMT_COMPILE(R"({}{{"key":)"), Comma());
    AppendLogText(out_, key, std::string_view::npos);
    Put(R"(,"value":{"stringValue":)");
    AppendLogText(out_, value, std::string_view::npos);
    Put("}}");
  }
  /// 64-bit numbers are texts in protobuf's JSON.
  void Number(std::string_view key, long long value) {
    fmt::format_to(to_, FMT_COMPILE(R"({}{{"key":"{}","value":{{"intValue":"{}"}}}})"), Comma(), key, value);
  }

  void Add(const RequestSpan& request) {
    Begin(request, request.context.span(), request.context.parent(), request.start, request.end, kServer);
    AppendLogText(out_, request.route.empty() ? request.method : request.method + " " + request.route);
    Put(R"(,"attributes":[)");
    first_ = true;
    Attributes(request);
    Put("]");
    if (request.status >= 500) {
      Put(R"(,"status":{"code":2,"message":)");
      AppendLogText(out_, request.error);
      Put("}");
    }
    Put("}");
    for (const SpanStep& step : request.steps) {
      std::array<char, 16> id{};
      MakeSpanId(id);
      Begin(request, {id.data(), id.size()}, request.context.span(),
            std::clamp(step.start, request.start, request.end),
            std::clamp(step.end, request.start, request.end), kInternal);
      fmt::format_to(to_, FMT_COMPILE(R"("{}","attributes":[)"), step.name);
      first_ = true;
      if (step.name == "batch") {
        Number("flambeau.batch.requests", request.batch_requests);
        Number("flambeau.batch.rows", request.batch_rows);
        if (request.batches > 1) Number("flambeau.batches", request.batches);
      }
      Put("]}");
    }
  }

  void Put(std::string_view text) { out_.append(text.data(), text.data() + text.size()); }
  [[nodiscard]] std::string Take() const { return fmt::to_string(out_); }

 private:
  /// Up to the name.
  void Begin(const RequestSpan& request, std::string_view id, std::string_view parent, TimePoint start,
             TimePoint end, int kind) {
    if (spans_++ > 0) Put(",");
    fmt::format_to(to_, FMT_COMPILE(R"({{"traceId":"{}","spanId":"{}")"), request.context.trace(), id);
    if (!parent.empty()) fmt::format_to(to_, FMT_COMPILE(R"(,"parentSpanId":"{}")"), parent);
    if (!request.trace_state.empty()) {
      Put(R"(,"traceState":)");
      AppendLogText(out_, request.trace_state);
    }
    fmt::format_to(to_, FMT_COMPILE(R"(,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","kind":{},"name":)"),
                   (start.time_since_epoch() + offset_).count(), (end.time_since_epoch() + offset_).count(),
                   kind);
  }

  void Attributes(const RequestSpan& request) {
    Text("http.request.method", request.method);
    Text("http.route", request.route);
    Text("url.path", request.path);
    Text("server.address", HostOnly(request.host));
    Number("http.response.status_code", request.status);
    Text("flambeau.model", request.model);
    Text("flambeau.version", request.version);
    Text("flambeau.request_id", request.request_id);
    if (request.status >= 499) Text("error.type", std::to_string(request.status));
  }

  std::string_view Comma() { return std::exchange(first_, false) ? "" : ","; }

  const std::chrono::nanoseconds offset_;
  fmt::memory_buffer out_;
  std::back_insert_iterator<fmt::memory_buffer> to_ = std::back_inserter(out_);
  bool first_ = true;  // of a list of attributes
  std::size_t spans_ = 0;
};

}  // namespace

KeyValues ResourceAttributes(const TraceExport& options, const Instance& instance, std::string_view version) {
  KeyValues attributes;
  const auto set = [&attributes](std::string_view key, std::string value) {
    if (value.empty()) return;
    const auto known = std::find_if(attributes.begin(), attributes.end(),
                                    [key](const auto& attribute) { return attribute.first == key; });
    if (known != attributes.end()) {
      known->second = std::move(value);
    } else {
      attributes.emplace_back(key, std::move(value));
    }
  };
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  set("service.name", instance.service.empty() ? "flambeau" : instance.service);
  set("service.version", std::string(version));
  set("host.name", host.data());
  set("process.pid", std::to_string(getpid()));
  if (!instance.service.empty()) {
    set("cloud.provider", "gcp");
    set("cloud.platform", "gcp_cloud_run");
    set("faas.name", instance.service);
    set("faas.version", instance.revision);
    set("faas.instance", host.data());
  }
  for (const auto& [key, value] : options.resource) set(key, value);
  set("service.name", options.service_name);
  return attributes;
}

std::string OtlpJson(std::span<const RequestSpan> spans, const KeyValues& resource, std::string_view version,
                     std::chrono::nanoseconds offset) {
  Encoder body(offset);
  body.Put(R"({"resourceSpans":[{"resource":{"attributes":[)");
  for (const auto& [key, value] : resource) body.Text(key, value);
  body.Put(R"(]},"scopeSpans":[{"scope":{"name":"flambeau","version":")");
  body.Put(version);
  body.Put(R"("},"spans":[)");
  for (const RequestSpan& span : spans) body.Add(span);
  body.Put("]}]}]}");
  return body.Take();
}

}  // namespace serve
