#include "serve/telemetry/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <thread>

#include <fmt/format.h>

namespace serve {
namespace {

namespace fs = std::filesystem;

int AffinityCpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return std::max(1, CPU_COUNT(&mask));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));  // over 1024 CPUs
}

void Lower(CpuQuota& quota, double cpus, std::string source) {
  if (cpus <= 0 || cpus >= quota.exact) return;
  quota.exact = cpus;
  quota.source = std::move(source);
}

void ReadV2(CpuQuota& quota, const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  std::string limit;
  double period = 0;
  if (!(file >> limit >> period) || limit == "max" || period <= 0) return;
  Lower(quota, std::atof(limit.c_str()) / period, fmt::format("cgroup v2 cpu.max {} {}", limit, period));
}

void ReadV1(CpuQuota& quota, const fs::path& folder) {
  double limit = 0;
  double period = 0;
  std::ifstream limit_file(folder / "cpu.cfs_quota_us");
  std::ifstream period_file(folder / "cpu.cfs_period_us");
  if (!(limit_file >> limit) || !(period_file >> period) || limit <= 0 || period <= 0)
    return;  // -1: no limit
  Lower(quota, limit / period, fmt::format("cgroup v1 cpu.cfs_quota_us {} of {}", limit, period));
}

/// From the process's own cgroup up to the mount. In a container the path is often the host's and not there;
/// what counts then is the mount itself.
template <class Read>
void WalkUp(CpuQuota& quota, const fs::path& mount, std::string path, Read read) {
  while (!path.empty() && path != "/") {
    read(quota, mount / fs::path(path).relative_path());
    path = fs::path(path).parent_path().string();
  }
  read(quota, mount);
}

bool HasController(std::string_view list, std::string_view controller) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == controller) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

CpuQuota ReadCpuQuota(const CpuQuotaRoots& roots) {
  CpuQuota quota;
  quota.exact = roots.affinity > 0 ? roots.affinity : AffinityCpus();
  quota.source = "affinity mask";

  // Lines are `id:controllers:path`; v2 is `0::path`.
  std::ifstream file(fs::path(roots.proc) / "self" / "cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    const fs::path mount = roots.cgroup;
    if (controllers.empty()) {
      WalkUp(quota, mount, path, ReadV2);
      WalkUp(quota, mount / "unified", path, ReadV2);  // v1 and v2 side by side
    } else if (HasController(controllers, "cpu")) {
      WalkUp(quota, mount / controllers, path, ReadV1);
      if (controllers != "cpu") WalkUp(quota, mount / "cpu", path, ReadV1);
    }
  }
  quota.cpus = std::max(1, static_cast<int>(std::ceil(quota.exact - 1e-9)));
  return quota;
}

}  // namespace serve
