#include "serve/telemetry/process_stats.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace serve {
namespace {

/// Fields of /proc/self/stat as proc(5) numbers them, from 3 on: the name before them may hold blanks.
std::vector<std::string> StatFields() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t after_name = text.rfind(')');
  if (after_name == std::string::npos) return {};
  std::istringstream fields(text.substr(after_name + 1));
  return {std::istream_iterator<std::string>(fields), {}};
}

double BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 6, "btime ") == 0) return std::stod(line.substr(6));
  }
  return 0;
}

}  // namespace

ProcessStats ReadProcessStats() {
  ProcessStats stats;
  const std::vector<std::string> fields = StatFields();
  const auto field = [&fields](std::size_t number) {
    return number - 3 < fields.size() ? std::stod(fields[number - 3]) : 0.0;
  };
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  stats.cpu_seconds = (field(14) + field(15)) / ticks;
  stats.threads = field(20);
  stats.virtual_bytes = field(23);
  stats.resident_bytes = field(24) * static_cast<double>(sysconf(_SC_PAGESIZE));
  static const double boot_time = BootTime();
  stats.start_time_seconds = boot_time + field(22) / ticks;

  std::error_code error;
  std::filesystem::directory_iterator open_files("/proc/self/fd", error);
  if (!error) stats.open_fds = static_cast<double>(std::distance(begin(open_files), end(open_files)) - 1);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) stats.max_fds = static_cast<double>(limit.rlim_cur);
  return stats;
}

}  // namespace serve
