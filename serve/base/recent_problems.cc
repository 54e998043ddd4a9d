#include "serve/base/recent_problems.h"

#include <deque>
#include <mutex>

namespace serve {
namespace {

std::mutex problems_mutex;
std::deque<Problem> problems;  // guarded by problems_mutex; the newest first

}  // namespace

void NoteProblem(LogLevel level, std::string_view text) {
  const std::unique_lock lock(problems_mutex, std::try_to_lock);
  if (!lock) return;
  text = text.substr(0, kProblemBytes);
  const auto now = std::chrono::system_clock::now();
  if (!problems.empty() && problems.front().level == level && problems.front().text == text) {
    problems.front().time = now;
    ++problems.front().times;
    return;
  }
  if (problems.size() == kRecentProblems) problems.pop_back();
  problems.push_front({now, level, std::string(text)});
}

std::vector<Problem> RecentProblems() {
  const std::lock_guard lock(problems_mutex);
  return {problems.begin(), problems.end()};
}

}  // namespace serve
