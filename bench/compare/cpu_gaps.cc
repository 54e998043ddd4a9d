// What the machine takes from a process whatever that does: one thread on each CPU reads the clock without a
// pause, and every step that took long is time in which a hypervisor, or another process, had the CPU. No
// server's slowest answers can be faster than that while all CPUs are busy.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <sched.h>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Millis = std::chrono::duration<double, std::milli>;
constexpr Millis kGap(0.5);  // longer than any interrupt

struct Gaps {
  double lost_ms = 0;  // in gaps
  double longest_ms = 0;
  int count = 0;
};

void Watch(int cpu, Clock::duration period, Gaps& gaps) {
  cpu_set_t mine;
  CPU_ZERO(&mine);
  CPU_SET(cpu, &mine);
  (void)pthread_setaffinity_np(pthread_self(), sizeof mine, &mine);
  const Clock::time_point begin = Clock::now();
  for (Clock::time_point last = begin; last - begin < period;) {
    const Clock::time_point now = Clock::now();
    const Millis step = now - last;
    last = now;
    if (step < kGap) continue;
    ++gaps.count;
    gaps.lost_ms += step.count();
    gaps.longest_ms = std::max(gaps.longest_ms, step.count());
  }
}

}  // namespace

// cpu_gaps SECONDS: prints one line of JSON.
int main(int count, char** words) {
  const double seconds = count > 1 ? std::atof(words[1]) : 2;
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (!(seconds > 0) || sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    std::fprintf(stderr, "usage: cpu_gaps SECONDS\n");
    return 2;
  }
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  std::vector<Gaps> gaps(cpus.size());
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < cpus.size(); ++i) {
      threads.emplace_back([&, i] { Watch(cpus[i], period, gaps[i]); });
    }
  }
  Gaps all;
  for (const Gaps& one : gaps) {
    all.count += one.count;
    all.lost_ms += one.lost_ms;
    all.longest_ms = std::max(all.longest_ms, one.longest_ms);
  }
  std::printf(R"({"cpus": %zu, "gaps": %d, "longest_ms": %.2f, "lost_share": %.5f})"
              "\n",
              cpus.size(), all.count, all.longest_ms,
              all.lost_ms / (1000 * seconds * static_cast<double>(cpus.size())));
}
