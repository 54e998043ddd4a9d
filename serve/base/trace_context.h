#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace serve {

/// The place of one request in a distributed trace. Ids are lower-case hex digits; an id that begins with NUL
/// is not there. Has no memory of its own.
struct TraceContext {
  std::array<char, 32> trace_id{};
  std::array<char, 16> span_id{};    // of this server's part
  std::array<char, 16> parent_id{};  // of the caller's part
  bool sampled = false;              // as the caller said, or as this server chose
  bool recorded = false;             // this server's part is exported

  [[nodiscard]] std::string_view trace() const { return {trace_id.data(), trace_id.size()}; }
  [[nodiscard]] std::string_view span() const { return {span_id.data(), span_id.size()}; }
  /// Empty: nobody called, or the header names no span.
  [[nodiscard]] std::string_view parent() const {
    return parent_id[0] == '\0' ? std::string_view() : std::string_view(parent_id.data(), parent_id.size());
  }
};

/// `00-<32 hex>-<16 hex>-<2 hex>` of W3C Trace Context: ids and flag of the caller. nullopt: the field is not
/// valid, and must be ignored together with `tracestate`. A version that is not known yet may bring more,
/// which is passed over.
std::optional<TraceContext> ParseTraceparent(std::string_view field);
/// `TRACE/SPAN;o=1` of X-Cloud-Trace-Context: the trace in hex, the span as a decimal number. The span and
/// the option may be missing.
std::optional<TraceContext> ParseCloudTrace(std::string_view field);

/// Fills in ids that are random and not zero.
void MakeTraceId(TraceContext& context);
void MakeSpanId(std::array<char, 16>& id);

}  // namespace serve
