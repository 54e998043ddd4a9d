#include "serve/runtime/aoti/host_cpu.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string_view>
#include <sys/utsname.h>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace serve {
namespace {

constexpr const char* kCompileHere = "compile the package on a machine like this one";

/// What the compiler is told for each word of AOTI_CPU_ISA (torch/_inductor/cpu_vec_isa.py).
std::vector<std::string> FlagsOf(const std::string& word) {
  if (word == "INVALID_VEC_ISA") return {};  // no vector instructions
  if (word == "AVX2") return {"avx2", "fma", "f16c"};
  if (word == "AVX512") return {"avx512f", "avx512dq", "avx512vl", "avx512bw", "fma"};
  if (word == "AMX_TILE") return {"amx_tile", "amx_bf16", "amx_int8"};
  std::string flag = word;
  std::transform(flag.begin(), flag.end(), flag.begin(), [](unsigned char c) { return std::tolower(c); });
  return {flag};
}

std::string Find(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : found->second;
}

}  // namespace

HostCpu ReadHostCpu(const std::filesystem::path& cpuinfo) {
  HostCpu host;
  utsname names{};
  if (uname(&names) == 0) {
    host.machine = names.machine;
    host.platform = names.sysname;
    std::transform(host.platform.begin(), host.platform.end(), host.platform.begin(),
                   [](unsigned char c) { return std::tolower(c); });
  }
  std::ifstream file(cpuinfo);
  for (std::string line; std::getline(file, line) && host.flags.empty();) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t:", colon) + 1);
    if (key == "model name" && colon + 2 < line.size()) host.name = line.substr(colon + 2);
    if (key != "flags" && key != "Features") continue;
    std::istringstream words(line.substr(colon + 1));
    for (std::string word; words >> word;) host.flags.insert(word);
  }
  if (host.name.empty()) host.name = host.machine;
  return host;
}

Status CheckFits(const std::map<std::string, std::string>& metadata, const HostCpu& host) {
  const std::string device = Find(metadata, "AOTI_DEVICE_KEY");
  if (device.empty()) return InvalidArgument("the package does not say for which device it was compiled");
  if (device != "cpu") {
    return InvalidArgument(
        fmt::format("the package was compiled for the device {}, this server runs models on the CPU; export "
                    "the model with "
                    "its weights and example inputs on the CPU and compile it again",
                    device));
  }
  const std::string platform = Find(metadata, "AOTI_PLATFORM");
  const std::string machine = Find(metadata, "AOTI_MACHINE");
  if ((!platform.empty() && platform != host.platform) || (!machine.empty() && machine != host.machine)) {
    return InvalidArgument(fmt::format("the package was compiled for {} on {}, this machine is {} on {}; {}",
                                       platform, machine, host.platform, host.machine, kCompileHere));
  }
  const std::string isa = Find(metadata, "AOTI_CPU_ISA");
  std::vector<std::string> missing;
  std::istringstream words(isa);
  for (std::string word; words >> word;) {
    for (const std::string& flag : FlagsOf(word)) {
      if (!host.flags.contains(flag) && std::find(missing.begin(), missing.end(), flag) == missing.end())
        missing.push_back(flag);
    }
  }
  if (missing.empty()) return {};
  return InvalidArgument(fmt::format(
      "the package was compiled for CPUs with {}, this one ({}) lacks {}; {}, or for less: "
      "ATEN_CPU_CAPABILITY=avx2 TORCHINDUCTOR_CPP_MARCH=x86-64-v3 in the environment of the export",
      isa, host.name, fmt::join(missing, ", "), kCompileHere));
}

}  // namespace serve
