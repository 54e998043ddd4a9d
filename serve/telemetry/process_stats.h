#pragma once

namespace serve {

/// What the kernel says of this process, in base units; 0 where it says nothing.
struct ProcessStats {
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double cpu_seconds = 0;  // user and system
  double open_fds = 0;
  double max_fds = 0;
  double start_time_seconds = 0;  // Unix time
  double threads = 0;
};

/// Reads a few files of /proc: some tens of microseconds. Any thread.
ProcessStats ReadProcessStats();

}  // namespace serve
