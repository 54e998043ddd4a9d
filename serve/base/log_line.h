#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "serve/base/log.h"
#include "serve/base/trace_context.h"

namespace serve {

/// `2024-05-30T21:46:03,625 [INFO ] text` in local time, or one JSON object with the time in UTC, and a
/// newline. `source` stands before the text; `fields` are further members of the object.
void AppendLogLine(std::string& out, LogFormat format, LogLevel level,
                   std::chrono::system_clock::time_point time, std::string_view text,
                   std::string_view source = {}, std::string_view fields = {});

/// What travels from the thread that logs to the writer: the text, and the members that only this thread
/// knows.
struct PackedLogLine {
  std::string_view text;
  std::string_view fields;
};
std::string PackLogLine(std::string_view text, LogFormat format, const TraceContext* trace);
/// Of a text that PackLogLine made; the views point into it.
PackedLogLine UnpackLogLine(std::string_view packed);

}  // namespace serve
