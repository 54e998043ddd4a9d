#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <thread>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "serve/config/address.h"
#include "serve/telemetry/cpu_quota.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr double kUnlimited = std::numeric_limits<double>::infinity();

/// What stands behind `NAME :` (or `NAME:`) in the first line that begins so.
std::string LineOf(const fs::path& file, std::string_view name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? "" : line.substr(first);
  }
  return {};
}

/// The number that a file of the kernel holds; infinity for `max`, a missing file or v1's huge number.
double Limit(const fs::path& file) {
  std::ifstream stream(file);
  double value = 0;
  return stream >> value && value < 1e18 ? value : kUnlimited;
}

struct MemoryLimit {
  double bytes = kUnlimited;
  double used = 0;
  std::string source;
};

/// The smallest limit from the process's own cgroup up to the mount; see serve/telemetry/cpu_quota.h.
MemoryLimit ReadMemoryLimit(const Place& place) {
  MemoryLimit lowest;
  const auto look = [&](const fs::path& folder, const char* limit, const char* usage) {
    const double bytes = Limit(folder / limit);
    if (bytes >= lowest.bytes) return;
    const double used = Limit(folder / usage);
    lowest = {bytes, used == kUnlimited ? 0 : used, fmt::format("cgroup {}", limit)};
  };
  std::ifstream file(place.proc / "self" / "cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t second = line.find(':', line.find(':') + 1);
    if (second == std::string::npos) continue;
    const bool v2 = line.compare(0, 3, "0::") == 0;
    if (!v2 && line.find(":memory:") == std::string::npos) continue;
    const fs::path mount = v2 ? place.cgroup : place.cgroup / "memory";
    for (fs::path path = line.substr(second + 1); !path.empty(); path = path.parent_path()) {
      look(mount / path.relative_path(), v2 ? "memory.max" : "memory.limit_in_bytes",
           v2 ? "memory.current" : "memory.usage_in_bytes");
      if (path == path.parent_path()) break;
    }
  }
  return lowest;
}

double BytesOf(const fs::path& meminfo, std::string_view name) {
  std::istringstream text(LineOf(meminfo, name));
  double kilobytes = 0;
  return text >> kilobytes ? kilobytes * 1024 : 0;
}

/// Archives and model files that lie in the store.
double StoreBytes(const std::string& store) {
  double sum = 0;
  std::error_code error;
  for (const fs::path& path : EntriesOf(store)) {
    if (!fs::is_regular_file(path, error)) continue;
    const auto size = fs::file_size(path, error);
    if (!error) sum += static_cast<double>(size);
  }
  return sum;
}

}  // namespace

Findings CheckCpu(const Place& place) {
  const fs::path cpuinfo = place.proc / "cpuinfo";
  std::string model = LineOf(cpuinfo, "model name");
  std::string flags = LineOf(cpuinfo, "flags");
  const bool arm = flags.empty();
  if (arm) flags = LineOf(cpuinfo, "Features");
  if (model.empty()) model = arm ? "ARM" : "CPU";
  flags = " " + flags + " ";
  const auto has = [&](std::string_view flag) {
    return flags.find(fmt::format(" {} ", flag)) != std::string::npos;
  };
  if (flags == "  ") return {Doubtful("/proc/cpuinfo names no features", "nothing can be said of the speed")};
  if (arm) {
    return {Fine(fmt::format("{}: {}; bfloat16 {}", model, has("sve") ? "NEON, SVE" : "NEON",
                             has("bf16") ? "in hardware" : "is emulated"))};
  }
  const bool avx512 = has("avx512f") && has("avx512dq") && has("avx512bw") && has("avx512vl");
  const bool avx2 = has("avx2") && has("fma");
  std::string more;
  for (const auto& [flag, name] : {std::pair("avx512_vnni", "VNNI"), std::pair("avx512_bf16", "AVX512-BF16"),
                                   std::pair("amx_bf16", "AMX-BF16"), std::pair("amx_int8", "AMX-INT8")}) {
    if (has(flag)) more += fmt::format(", {}", name);
  }
  const bool bf16 = has("avx512_bf16") || has("amx_bf16");
  const std::string text =
      fmt::format("{}: {}{}; bfloat16 {}", model,
                  avx512 ? "AVX512"
                  : avx2 ? "AVX2"
                         : "neither AVX2 nor AVX512",
                  more, bf16 ? "in hardware (try precision=auto)" : "is emulated and slow");
  if (!avx512 && !avx2) {
    return {Doubtful(text,
                     "libtorch runs several times slower here, and .pt2 packages may not run at all: "
                     "choose a machine (or a CPU model of the virtual machine) with AVX2")};
  }
  if (!bf16 && place.config.errors.empty()) {
    for (const EffectiveValue& value : place.config.values) {
      if (value.key == "precision" && value.value == "bf16")
        return {Doubtful(text, "precision=bf16 will be slower than float32 here: set precision=auto")};
    }
  }
  return {Fine(text)};
}

Findings CheckCpuPlan(const Place& place) {
  const CpuQuota quota =
      ReadCpuQuota({.proc = place.proc.string(), .cgroup = place.cgroup.string(), .affinity = 0});
  const unsigned host = std::max(1U, std::thread::hardware_concurrency());
  const int workers = std::max(1, place.options.start_workers);
  const int threads =
      place.options.intra_op_threads > 0 ? place.options.intra_op_threads : std::max(1, quota.cpus / workers);
  const std::string text =
      fmt::format("{:g} of {} CPUs ({}): {} I/O threads, {} worker{} of {} thread{} for a model at start",
                  quota.exact, std::max<unsigned>(host, static_cast<unsigned>(quota.cpus)), quota.source,
                  PlannedIoThreads(place.options, quota.cpus), workers, workers == 1 ? "" : "s", threads,
                  threads == 1 ? "" : "s");
  if (quota.exact < 1) {
    return {Doubtful(text,
                     "with less than one CPU the kernel stops the server in every period: answers take "
                     "up to 100 ms longer; give it one whole CPU")};
  }
  if (workers * threads > 2 * quota.cpus) {
    return {Doubtful(text,
                     "threads will wait for each other: lower default_workers_per_model or "
                     "intra_op_threads until their product is the number of CPUs")};
  }
  const std::string omp = place.Variable("OMP_NUM_THREADS");
  if (!omp.empty() && std::atoi(omp.c_str()) > quota.cpus) {
    return {Doubtful(text + fmt::format("; OMP_NUM_THREADS={}", omp),
                     "more threads than CPUs: unset OMP_NUM_THREADS, the server plans them itself")};
  }
  return {Fine(text)};
}

Findings CheckMemory(const Place& place) {
  const MemoryLimit limit = ReadMemoryLimit(place);
  const double total = BytesOf(place.proc / "meminfo", "MemTotal");
  double free = BytesOf(place.proc / "meminfo", "MemAvailable");
  std::string text = fmt::format("{} of {} are free", SizeText(free), SizeText(total));
  if (limit.bytes < kUnlimited && (total == 0 || limit.bytes < total)) {
    free = std::min(free == 0 ? limit.bytes : free, limit.bytes - limit.used);
    text = fmt::format("limit {} ({}), {} free", SizeText(limit.bytes), limit.source, SizeText(free));
  }
  const double models = StoreBytes(place.options.management_api.model_store);
  // libtorch and the server need about 300 MB; a model its file, and as much again while it is loaded.
  const double wanted = 300e6 + 2 * models;
  if (models > 0) text += fmt::format("; the model store holds {}", SizeText(models));
  if (free < 300e6) {
    return {Wrong(text, fmt::format("libtorch alone needs 300 MB: give the server {} or more",
                                    SizeText(std::max(1e9, 2 * wanted))))};
  }
  if (free < wanted) {
    return {
        Doubtful(text, fmt::format("loading everything may need {}: raise the limit, or load fewer models",
                                   SizeText(wanted)))};
  }
  return {Fine(text)};
}

Findings CheckOpenFiles(const Place& place) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const std::size_t listeners =
      1 + (place.options.management_listener ? 1 : 0) + (place.options.metrics_listener ? 1 : 0);
  const std::size_t wanted =
      place.options.http.max_connections * (place.options.single_port ? 1 : listeners) + 128;
  const std::string text = fmt::format("{} may be open; max_connections asks for up to {}",
                                       static_cast<std::uint64_t>(limit.rlim_cur), wanted);
  if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < wanted) {
    const bool may = limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= wanted;
    return {Doubtful(text, fmt::format("{} (systemd: LimitNOFILE={}), or lower max_connections",
                                       may ? fmt::format("ulimit -n {}", wanted)
                                           : "let root raise the hard limit of open files",
                                       wanted))};
  }
  return {Fine(text)};
}

Findings CheckPlatform(const Place& place) {
  Findings findings;
  const std::string service = place.Variable("K_SERVICE");
  const std::string port = place.Variable("PORT");
  const bool kubernetes = !place.Variable("KUBERNETES_SERVICE_HOST").empty();
  if (service.empty() && port.empty() && !kubernetes) return {};
  const std::string who = !service.empty() ? fmt::format("Cloud Run (K_SERVICE={}, K_REVISION={})", service,
                                                         place.Variable("K_REVISION"))
                          : kubernetes     ? "Kubernetes"
                                           : fmt::format("PORT={}", port);
  const std::string address = AddressText(place.options.inference);
  if (IsLoopback(place.options.inference) && (!service.empty() || kubernetes)) {
    findings.push_back(Wrong(fmt::format("{}: inference listens on {} only", who, address),
                             "nobody outside the container reaches it: inference_address=http://0.0.0.0:" +
                                 std::to_string(place.options.inference.port)));
  } else {
    findings.push_back(Fine(fmt::format("{}: inference on {}", who, address)));
  }
  if (!port.empty() && port != std::to_string(place.options.inference.port)) {
    findings.push_back(Doubtful(fmt::format("PORT={}, but inference listens on {}", port, address),
                                "leave --inference-address out, or let it say the same port"));
  }
  if (!service.empty() && place.options.inference.tls) {
    findings.push_back(Wrong(fmt::format("{}: inference speaks https", who),
                             "the platform ends TLS itself and speaks http to the container"));
  }
  return findings;
}

}  // namespace serve
