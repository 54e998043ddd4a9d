#include "trainer/tracking/baseline.h"

#include <fstream>
#include <string>
#include <thread>

namespace serve::trainer {
namespace {

/// "model name" of /proc/cpuinfo; empty where it says none.
std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return {};
}

/// What decides how libtorch and oneDNN compute: sums come out in another order with other vectors.
std::string InstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return "x86-64 avx512";
  if (__builtin_cpu_supports("avx2") != 0) return "x86-64 avx2";
  return "x86-64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "unknown";
#endif
}

}  // namespace

void AddBaseline(nlohmann::ordered_json& lineage) {
  if (!lineage.contains("code")) lineage["code"] = {{"commit", BuildCommit()}, {"dirty", BuildIsDirty()}};
  if (!lineage.contains("environment")) {
    lineage["environment"] = {{"compiler",
#if defined(__clang__)
                               "clang " __clang_version__},
#else
                               "gcc " __VERSION__},
#endif
                              {"cpu", CpuName()},
                              {"instruction_set", InstructionSet()},
                              {"cpus", std::thread::hardware_concurrency()}};
  }
}

}  // namespace serve::trainer
