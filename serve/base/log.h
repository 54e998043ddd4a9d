#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "serve/base/log_fields.h"
#include "serve/base/trace_context.h"

namespace serve {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  std::string file;         // empty: standard error
  std::string access_file;  // empty: standard output
  bool access_log = true;
  // TorchServe's files, besides the two above: ts_log.log, access_log.log, model_log.log in `folder`,
  // ts_metrics.log and model_metrics.log in `metrics_folder`. Both are made; empty: none of these files.
  std::string folder;
  std::string metrics_folder;
  std::uint64_t rotate_bytes = 100ULL << 20;  // a file of this size becomes NAME.1, that one NAME.2, …
  int rotated_kept = 5;                       // how many of those there are; 0: the file begins anew
  LogPlace place;                             // for JSON lines
};

/// Files of TorchServe's that get finished lines.
enum class LogFile : std::uint8_t { kModel, kTsMetrics, kModelMetrics };
inline constexpr std::size_t kLogFiles = 3;

/// Starts the asynchronous writer. Lines logged before go to standard error at once. Call once, from main.
void StartLogging(const LogOptions& options);
/// Writes what is waiting and stops the writer. Lines logged after go to standard error at once.
void StopLogging();
/// Logs one line of the server log. Any thread; never waits for the disk: when the buffer is full the oldest
/// line is dropped.
void LogLine(LogLevel level, std::string_view text);
/// Writes finished lines of the access log, each with its newline (text or JSON is the caller's choice by
/// CurrentLogFormat()). Many at once cost one hand-over to the writer.
void AccessLogLines(std::string_view lines);
/// Writes finished lines to one of TorchServe's files, likewise; nothing when there is none.
void LogFileLines(LogFile file, std::string_view lines);
/// Lines that were lost since the start, because they came too fast or could not be written (a full disk).
std::uint64_t LostLogLines();
bool AccessLogEnabled();
LogFormat CurrentLogFormat();
bool LogEnabled(LogLevel level);

/// The request that the calling thread works for while this lives: JSON lines of the server log name its
/// trace. Null: none. Must not be held across co_await.
class LogTrace {
 public:
  explicit LogTrace(const TraceContext* trace);
  ~LogTrace();
  LogTrace(const LogTrace&) = delete;
  LogTrace& operator=(const LogTrace&) = delete;

 private:
  const TraceContext* const before_;
};

template <class... Args>
void LogDebug(fmt::format_string<Args...> format, Args&&... args) {
  if (LogEnabled(LogLevel::kDebug))
    LogLine(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogInfo(fmt::format_string<Args...> format, Args&&... args) {
  if (LogEnabled(LogLevel::kInfo)) LogLine(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogWarning(fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void LogError(fmt::format_string<Args...> format, Args&&... args) {
  LogLine(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace serve
