#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include "serve/telemetry/tracer.h"
#include "serve/tracing/options.h"

namespace serve {

/// Attributes of everything that this server exports: service.name, service.version, host.name, process.pid,
/// what Cloud Run says (cloud.provider, cloud.platform, faas.name, faas.version, faas.instance), and the
/// operator's, which win.
KeyValues ResourceAttributes(const TraceExport& options, const Instance& instance, std::string_view version);

/// The body of one call: OTLP's ExportTraceServiceRequest in its JSON form. A request is a SERVER span
/// (`POST /predictions/{model}`) with INTERNAL children `prepare`, `queue`, `batch` and `render`, as far as
/// it came. `offset` is what the system clock shows beyond the steady one.
std::string OtlpJson(std::span<const RequestSpan> spans, const KeyValues& resource, std::string_view version,
                     std::chrono::nanoseconds offset);

}  // namespace serve
