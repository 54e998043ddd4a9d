#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/log.h"

namespace serve {

/// A warning or an error of the log.
struct Problem {
  std::chrono::system_clock::time_point time;  // of the last one, when it came several times in a row
  LogLevel level = LogLevel::kWarning;
  std::string text;
  std::uint64_t times = 1;
};

inline constexpr std::size_t kRecentProblems = 20;
inline constexpr std::size_t kProblemBytes = 500;  // of a text; the rest is cut off

/// Keeps it for somebody who asks what went wrong lately. LogLine calls it for warnings and errors. Any
/// thread; never waits: when another thread is at it, the line is in the log only.
void NoteProblem(LogLevel level, std::string_view text);

/// The newest kRecentProblems, the newest first.
std::vector<Problem> RecentProblems();

}  // namespace serve
