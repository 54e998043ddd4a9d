#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

namespace serve {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  std::string file;         // empty: standard error
  std::string access_file;  // empty: standard output
  bool access_log = true;
};

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
bool AccessLogEnabled();
LogFormat CurrentLogFormat();
bool LogEnabled(LogLevel level);

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
