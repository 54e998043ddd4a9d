#include "serve/http/access_log.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <string>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "serve/http/http_message.h"

namespace serve {
namespace {

using Line = fmt::memory_buffer;

/// Each hand-over wakes the writer, which takes a CPU from whoever has it.
constexpr std::size_t kHandOverBytes = 32 * 1024;
/// Lines of this thread that the writer does not have yet: waking it for each would cost more than the line.
thread_local Line collected;

void Append(Line& line, std::string_view text) { line.append(text.data(), text.data() + text.size()); }

/// What a client may have written: quotes, backslashes, control characters and bytes beyond ASCII as \xNN.
void AppendEscaped(Line& line, std::string_view text) {
  const auto is_plain = [](char c) { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; };
  if (std::all_of(text.begin(), text.end(), is_plain)) return Append(line, text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_plain(c)) {
      line.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", byte);
    }
  }
}

void AppendJson(Line& line, std::string_view text) {
  std::string quoted;
  AppendJsonString(quoted, text);
  Append(line, quoted);
}

/// `2026-11-24T12:34:31` and the milliseconds. The first part is made once a second and thread.
struct Stamp {
  std::string_view seconds;
  int milliseconds;
};
Stamp Now(bool utc) {
  thread_local std::time_t made_for[2] = {-1, -1};
  thread_local char text[2][32];
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  char* mine = text[utc ? 1 : 0];
  if (made_for[utc ? 1 : 0] != now.tv_sec) {
    std::tm parts{};
    if (utc) {
      gmtime_r(&now.tv_sec, &parts);
    } else {
      localtime_r(&now.tv_sec, &parts);
    }
    std::strftime(mine, sizeof(text[0]), "%Y-%m-%dT%H:%M:%S", &parts);
    made_for[utc ? 1 : 0] = now.tv_sec;
  }
  return {mine, static_cast<int>(now.tv_nsec / 1'000'000)};
}

void AppendLine(Line& line, const AccessRecord& record, LogFormat format) {
  const auto out = std::back_inserter(line);
  const bool json = format == LogFormat::kJson;
  const Stamp stamp = Now(json);
  if (json) {
    fmt::format_to(out, FMT_COMPILE(R"({{"time":"{}.{:03}Z","remote":"{}","method":)"), stamp.seconds,
                   stamp.milliseconds, record.remote.substr(record.remote.empty() ? 0 : 1));
    AppendJson(line, record.method);
    Append(line, ",\"path\":");
    AppendJson(line, record.target);
    fmt::format_to(
        out, FMT_COMPILE(R"(,"status":{},"duration_ms":{:.3f},"bytes_in":{},"bytes_out":{},"request_id":)"),
        record.status, std::chrono::duration<double, std::milli>(record.duration).count(), record.bytes_in,
        record.bytes_out);
    AppendJson(line, record.request_id);
    if (!record.model.empty()) {
      Append(line, ",\"model\":");
      AppendJson(line, record.model);
    }
    if (!record.model_version.empty()) {
      Append(line, ",\"model_version\":");
      AppendJson(line, record.model_version);
    }
    line.push_back('}');
  } else {
    fmt::format_to(out, FMT_COMPILE("{},{:03} - {} \""), stamp.seconds, stamp.milliseconds, record.remote);
    AppendEscaped(line, record.method.empty() ? "-" : record.method);
    line.push_back(' ');
    AppendEscaped(line, record.target.empty() ? "-" : record.target);
    fmt::format_to(out, FMT_COMPILE(" HTTP/1.{}\" {} {}"), record.http_1_0 ? 0 : 1, record.status,
                   std::chrono::duration_cast<std::chrono::milliseconds>(record.duration).count());
  }
}

}  // namespace

std::string AccessLine(const AccessRecord& record, LogFormat format) {
  Line line;
  AppendLine(line, record, format);
  return fmt::to_string(line);
}

void WriteAccessLog(const AccessRecord& record) {
  AppendLine(collected, record, CurrentLogFormat());
  collected.push_back('\n');
  if (collected.size() >= kHandOverBytes) FlushAccessLog();
}

void FlushAccessLog() {
  if (collected.size() == 0) return;
  AccessLogLines({collected.data(), collected.size()});
  collected.clear();
}

}  // namespace serve
