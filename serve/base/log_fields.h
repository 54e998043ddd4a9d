#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include "serve/base/trace_context.h"

namespace serve {

/// Where the process runs: what every JSON line of the logs says beside its text. Empty: not known.
struct LogPlace {
  std::string project;   // Google Cloud's, which a trace needs to be found by its id
  std::string service;   // label k_service
  std::string revision;  // label k_revision
};

/// Once, before the first line: StartLogging does it.
void SetLogPlace(LogPlace place);

/// A text that a client chose stays so short in a line that the line stays below what log collectors take.
inline constexpr std::size_t kLongestLogText = 4 * 1024;

/// `text` between quotes, escaped, invalid UTF-8 replaced; cut at `longest` bytes.
void AppendLogText(fmt::memory_buffer& out, std::string_view text, std::size_t longest = kLongestLogText);
/// `,"logging.googleapis.com/trace":"projects/P/traces/ID",…spanId…,…trace_sampled…`; without a project
/// `,"trace_id":"ID"` instead of the first.
void AppendTraceFields(fmt::memory_buffer& out, const TraceContext& trace);
/// `,"logging.googleapis.com/labels":{…}` of what is not empty.
void AppendLabels(fmt::memory_buffer& out, std::string_view model, std::string_view version);

}  // namespace serve
