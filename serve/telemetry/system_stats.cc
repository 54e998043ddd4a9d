#include "serve/telemetry/system_stats.h"

#include <fstream>
#include <sstream>
#include <string>
#include <sys/statvfs.h>
#include <vector>

namespace serve {
namespace {

/// Kilobytes that /proc/meminfo gives for `name`; 0 when it has none.
double MemoryOf(const std::string& text, const std::string& name) {
  const std::size_t found = text.find(name + ":");
  return found == std::string::npos ? 0 : std::strtod(text.c_str() + found + name.size() + 1, nullptr);
}

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

double Percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

}  // namespace

SystemStats SystemStatsReader::Read() {
  SystemStats stats;
  // user nice system idle iowait irq softirq steal; what guests use is part of user.
  std::istringstream first(ReadFile("/proc/stat"));
  std::string name;
  first >> name;
  std::vector<std::uint64_t> ticks(8);
  for (std::uint64_t& value : ticks) first >> value;
  std::uint64_t total = 0;
  for (const std::uint64_t value : ticks) total += value;
  const std::uint64_t busy = total - ticks[3] - ticks[4];
  if (total > total_ && busy >= busy_) {
    stats.cpu_percent = Percent(static_cast<double>(busy - busy_), static_cast<double>(total - total_));
  }
  busy_ = busy;
  total_ = total;

  const std::string memory = ReadFile("/proc/meminfo");
  const double all = MemoryOf(memory, "MemTotal");
  const double available = MemoryOf(memory, "MemAvailable");
  stats.memory_used_mb = (all - available) / 1024;
  stats.memory_available_mb = available / 1024;
  stats.memory_percent = Percent(all - available, all);

  struct statvfs disk {};
  if (statvfs("/", &disk) == 0) {
    const double gb = static_cast<double>(disk.f_frsize) / (1 << 30);
    stats.disk_used_gb = static_cast<double>(disk.f_blocks - disk.f_bfree) * gb;
    stats.disk_available_gb = static_cast<double>(disk.f_bavail) * gb;
    stats.disk_percent = Percent(stats.disk_used_gb, stats.disk_used_gb + stats.disk_available_gb);
  }
  return stats;
}

}  // namespace serve
