#pragma once

#include <string>

namespace serve {

/// Where the kernel's files lie; tests bring their own.
struct CpuQuotaRoots {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
  int affinity = 0;  // CPUs of the affinity mask; 0: ask sched_getaffinity
};

struct CpuQuota {
  int cpus = 1;        // what to plan threads with: rounded up, at least 1
  double exact = 1;    // e.g. 1.5
  std::string source;  // for the log: "cgroup v2 cpu.max 150000 100000", "affinity mask"
};

/// The CPUs that this process may use: the smallest of the affinity mask and the limits of its cgroup and all
/// cgroups above it. The host's number of cores says nothing in a container.
///
/// Source: cgroup v2 `cpu.max`; v1 `cpu.cfs_quota_us` and `cpu.cfs_period_us`; sched_getaffinity (cpuset).
/// Errors: none; a file that is missing or unreadable limits nothing.
CpuQuota ReadCpuQuota(const CpuQuotaRoots& roots = {});

}  // namespace serve
