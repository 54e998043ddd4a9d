#include "serve/telemetry/tracer.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <utility>

namespace serve {
namespace {

constexpr std::size_t kHandOver = 64;

struct Collected {
  SpanSink* sink = nullptr;
  std::vector<RequestSpan> spans;
};
thread_local Collected collected;

/// The same requests are chosen by every service that has this ratio: the trace's id decides.
bool ChooseByRatio(const TraceContext& context, double ratio) {
  if (ratio >= 1) return true;
  std::uint64_t low = 0;
  const char* half = context.trace_id.data() + 16;
  std::from_chars(half, half + 16, low, 16);
  return low >> 1 < static_cast<std::uint64_t>(std::ldexp(ratio, 63));
}

}  // namespace

TraceContext Tracer::Begin(std::string_view traceparent, std::string_view cloud_trace) const {
  std::optional<TraceContext> caller;
  if (!traceparent.empty()) caller = ParseTraceparent(traceparent);
  if (!caller && !cloud_trace.empty()) caller = ParseCloudTrace(cloud_trace);
  TraceContext context = caller.value_or(TraceContext());
  if (!caller) MakeTraceId(context);
  MakeSpanId(context.span_id);
  if (sink_ == nullptr) return context;
  context.recorded = context.sampled = Choose(context, caller.has_value());
  return context;
}

bool Tracer::Choose(const TraceContext& context, bool has_caller) const {
  switch (sampling_.sampler) {
    case TraceSampler::kAlwaysOn:
      return true;
    case TraceSampler::kAlwaysOff:
      return false;
    case TraceSampler::kRatio:
      return ChooseByRatio(context, sampling_.ratio);
    case TraceSampler::kParentAlwaysOn:
      return has_caller ? context.sampled : true;
    case TraceSampler::kParentAlwaysOff:
      return has_caller && context.sampled;
    case TraceSampler::kParentRatio:
      return has_caller ? context.sampled : ChooseByRatio(context, sampling_.ratio);
  }
  return false;
}

void Tracer::Finish(RequestSpan span) const {
  if (collected.sink != sink_) Flush();
  collected.sink = sink_;
  collected.spans.push_back(std::move(span));
  if (collected.spans.size() >= kHandOver) Flush();
}

void Tracer::Flush() {
  if (collected.spans.empty()) return;
  collected.sink->Take(std::exchange(collected.spans, {}));
}

}  // namespace serve
