#pragma once

#include <cstdint>

namespace serve {

/// What the kernel says of the machine, as TorchServe's system metrics count it.
struct SystemStats {
  double cpu_percent = 0;  // busy share of all CPUs since the last look; at the first one since the boot
  double memory_percent = 0;
  double memory_used_mb = 0;  // megabytes and gigabytes are powers of 1024
  double memory_available_mb = 0;
  double disk_percent = 0;  // of the file system of /
  double disk_used_gb = 0;
  double disk_available_gb = 0;
};

/// Reads /proc and the file system of /: some tens of microseconds. One thread at a time.
class SystemStatsReader {
 public:
  SystemStats Read();

 private:
  std::uint64_t busy_ = 0;  // ticks at the last look
  std::uint64_t total_ = 0;
};

}  // namespace serve
