#include "serve/tracing/otlp_json.h"

#include <algorithm>
#include <array>
#include <string>
#include <unistd.h>
#include <utility>

#include <nlohmann/json.hpp>

namespace serve {
namespace {

using Json = nlohmann::ordered_json;
using TimePoint = std::chrono::steady_clock::time_point;

constexpr int kInternal = 1;
constexpr int kServer = 2;
constexpr int kError = 2;

Json Text(std::string_view key, std::string_view value) {
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}
/// 64-bit numbers are texts in protobuf's JSON.
Json Number(std::string_view key, long long value) {
  return {{"key", key}, {"value", {{"intValue", std::to_string(value)}}}};
}

/// Without the port; the colons of an IPv6 address stand in brackets.
std::string_view HostOnly(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  return colon == std::string_view::npos || host.ends_with(']') ? host : host.substr(0, colon);
}

class Encoder {
 public:
  explicit Encoder(std::chrono::nanoseconds offset) : offset_(offset) {}

  void Add(const RequestSpan& request) {
    Json server = Span(request, request.context.span(), request.context.parent(), request.start, request.end);
    server["name"] = request.route.empty() ? request.method : request.method + " " + request.route;
    server["kind"] = kServer;
    server["attributes"] = Attributes(request);
    if (request.status >= 500) {
      server["status"] = {{"code", kError}};
      if (!request.error.empty()) server["status"]["message"] = request.error;
    }
    spans_.push_back(std::move(server));
    for (const SpanStep& step : request.steps) {
      std::array<char, 16> id{};
      MakeSpanId(id);
      Json child = Span(request, {id.data(), id.size()}, request.context.span(),
                        std::clamp(step.start, request.start, request.end),
                        std::clamp(step.end, request.start, request.end));
      child["name"] = step.name;
      child["kind"] = kInternal;
      if (step.name == "batch") {
        child["attributes"] = {Number("flambeau.batch.requests", request.batch_requests),
                               Number("flambeau.batch.rows", request.batch_rows)};
        if (request.batches > 1) child["attributes"].push_back(Number("flambeau.batches", request.batches));
      }
      spans_.push_back(std::move(child));
    }
  }
  Json Take() { return std::move(spans_); }

 private:
  [[nodiscard]] Json Span(const RequestSpan& request, std::string_view id, std::string_view parent,
                          TimePoint start, TimePoint end) const {
    Json span = {{"traceId", request.context.trace()}, {"spanId", id}};
    if (!parent.empty()) span["parentSpanId"] = parent;
    if (!request.trace_state.empty()) span["traceState"] = request.trace_state;
    span["startTimeUnixNano"] = std::to_string((start.time_since_epoch() + offset_).count());
    span["endTimeUnixNano"] = std::to_string((end.time_since_epoch() + offset_).count());
    return span;
  }

  static Json Attributes(const RequestSpan& request) {
    Json attributes = Json::array();
    const auto text = [&](std::string_view key, std::string_view value) {
      if (!value.empty()) attributes.push_back(Text(key, value));
    };
    text("http.request.method", request.method);
    text("http.route", request.route);
    text("url.path", request.path);
    text("server.address", HostOnly(request.host));
    attributes.push_back(Number("http.response.status_code", request.status));
    text("flambeau.model", request.model);
    text("flambeau.version", request.version);
    text("flambeau.request_id", request.request_id);
    if (request.status >= 499) text("error.type", std::to_string(request.status));
    return attributes;
  }

  const std::chrono::nanoseconds offset_;
  Json spans_ = Json::array();
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
  Encoder encoder(offset);
  for (const RequestSpan& span : spans) encoder.Add(span);
  Json attributes = Json::array();
  for (const auto& [key, value] : resource) attributes.push_back(Text(key, value));
  const Json scope = {{"scope", {{"name", "flambeau"}, {"version", version}}}, {"spans", encoder.Take()}};
  const Json body = {{"resourceSpans", Json::array({{{"resource", {{"attributes", std::move(attributes)}}},
                                                     {"scopeSpans", Json::array({scope})}}})}};
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace serve
