#include "serve/base/thread_slice.h"

#include <cstdint>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace serve {
namespace {

constexpr std::uint64_t kSliceNanos = 100'000;  // the shortest that Linux gives; its default is about 3 ms

/// struct sched_attr of linux/sched/types.h, whose header collides with glibc's <sched.h>.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = 0;  // SCHED_OTHER
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = kSliceNanos;  // of a SCHED_OTHER thread: its slice
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

}  // namespace

void PreferShortSlices() {
  SchedulingAttributes attributes;
  (void)syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0);  // its nice value stays
  attributes.runtime = kSliceNanos;
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void GoBehindOthers(int nice) {
  if (getpriority(PRIO_PROCESS, 0) < nice) (void)setpriority(PRIO_PROCESS, 0, nice);  // on Linux: of a thread
}

}  // namespace serve
