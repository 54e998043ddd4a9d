#include "bench/load/load_client.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/resource.h>
#include <thread>

#include <fmt/format.h>

#include "bench/load/load_thread.h"

namespace serve {

namespace {

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

void LoadResult::Merge(const LoadResult& from) {
  window = std::max(window, from.window);
  in_window += from.in_window;
  ok_in_window += from.ok_in_window;
  for (const auto& [status, count] : from.statuses) statuses[status] += count;
  ok.Merge(from.ok);
  refused.Merge(from.refused);
  other.Merge(from.other);
  bytes_read += from.bytes_read;
  bytes_written += from.bytes_written;
  reconnects += from.reconnects;
  connect_errors += from.connect_errors;
  closed_errors += from.closed_errors;
  malformed += from.malformed;
  timeouts += from.timeouts;
  unsent += from.unsent;
  if (from.retry_after > 0) {
    retry_after_min =
        retry_after == 0 ? from.retry_after_min : std::min(retry_after_min, from.retry_after_min);
    retry_after_max = std::max(retry_after_max, from.retry_after_max);
    retry_after += from.retry_after;
  }
}

Result<LoadResult> RunLoad(const LoadOptions& options) {
  const Result<SocketAddress> address = Resolve(options.host, options.port);
  if (!address) return address.error();
  if (Status status = TryConnect(*address); !status.ok()) {
    return Status{status.code, fmt::format("cannot connect to {}:{}: {}; is the server running?",
                                           options.host, options.port, status.message)};
  }
  const std::vector<std::string> requests = RenderRequests(options);
  const int threads = std::min(options.threads, options.connections);
  std::vector<LoadResult> results(static_cast<std::size_t>(threads));
  const double cpu_before = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        const LoadShare share{i, threads};
        results[static_cast<std::size_t>(i)] = LoadThread(options, requests, *address, share, start).Run();
      });
    }
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  LoadResult total;
  for (const LoadResult& result : results) total.Merge(result);
  total.client_cpu = (CpuSeconds() - cpu_before) / elapsed.count();
  return total;
}

}  // namespace serve
