#include "serve/base/log_fields.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/compile.h>
#include <nlohmann/json.hpp>

namespace serve {
namespace {

LogPlace place;

void Append(fmt::memory_buffer& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

}  // namespace

void SetLogPlace(LogPlace known) { place = std::move(known); }

void AppendLogText(fmt::memory_buffer& out, std::string_view text, std::size_t longest) {
  const bool cut = text.size() > longest;
  if (cut) text = text.substr(0, longest);
  const bool plain = std::all_of(text.begin(), text.end(),
                                 [](char c) { return c >= ' ' && c < 0x7F && c != '"' && c != '\\'; });
  if (plain) {
    out.push_back('"');
    Append(out, text);
  } else {
    using Json = nlohmann::json;
    std::string quoted = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
    quoted.pop_back();
    Append(out, quoted);
  }
  Append(out, cut ? "…\"" : "\"");
}

void AppendTraceFields(fmt::memory_buffer& out, const TraceContext& trace) {
  const auto to = std::back_inserter(out);
  if (place.project.empty()) {
    fmt::format_to(to, FMT_COMPILE(R"(,"trace_id":"{}")"), trace.trace());
  } else {
    fmt::format_to(to, FMT_COMPILE(R"(,"logging.googleapis.com/trace":"projects/{}/traces/{}")"),
                   place.project, trace.trace());
  }
  // A span that is exported nowhere would be looked for in vain.
  const std::string_view span = trace.recorded ? trace.span() : trace.parent();
  if (!span.empty()) fmt::format_to(to, FMT_COMPILE(R"(,"logging.googleapis.com/spanId":"{}")"), span);
  Append(out, trace.sampled ? R"(,"logging.googleapis.com/trace_sampled":true)"
                            : R"(,"logging.googleapis.com/trace_sampled":false)");
}

void AppendLabels(fmt::memory_buffer& out, std::string_view model, std::string_view version) {
  const std::pair<std::string_view, std::string_view> labels[] = {
      {"model", model}, {"version", version}, {"k_service", place.service}, {"k_revision", place.revision}};
  bool first = true;
  for (const auto& [name, value] : labels) {
    if (value.empty()) continue;
    fmt::format_to(std::back_inserter(out), FMT_COMPILE("{}\"{}\":"),
                   first ? R"(,"logging.googleapis.com/labels":{)" : ",", name);
    AppendLogText(out, value);
    first = false;
  }
  if (!first) out.push_back('}');
}

}  // namespace serve
