#pragma once

#include <algorithm>
#include <sys/resource.h>
#include <unistd.h>

namespace serve {

/// Makes the calling thread, and those that it starts from now on, nicer than the process was started: Linux
/// keeps this for each thread. Never fails, for nicer is always allowed; less nice than before it does not
/// become.
inline void BeNicer(int by) {
  const int process = getpriority(PRIO_PROCESS, static_cast<id_t>(getpid()));
  setpriority(PRIO_PROCESS, 0, std::min(process + by, 19));
}

}  // namespace serve
