#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "serve/base/status.h"

namespace serve {

/// The machine that would run a package.
struct HostCpu {
  std::string platform;         // "linux"
  std::string machine;          // "x86_64", "aarch64"
  std::string name;             // for people
  std::set<std::string> flags;  // as /proc/cpuinfo spells them: "avx2", "avx512f"
};
HostCpu ReadHostCpu(const std::filesystem::path& cpuinfo = "/proc/cpuinfo");

/// Whether a package with this metadata can run on `host`: asked before its code is loaded, for an
/// instruction that the CPU lacks ends the process.
///
/// The metadata name the vector instructions that the generated kernels use. The compiler may have used more
/// of the machine where it ran (`-march=native`), which nothing in the package tells. Errors:
/// kInvalidArgument that names what the package was compiled for, what this machine is, and what to do.
Status CheckFits(const std::map<std::string, std::string>& metadata, const HostCpu& host);

}  // namespace serve
