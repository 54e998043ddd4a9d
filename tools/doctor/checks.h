#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "serve/config/config.h"

namespace serve {

enum class Verdict : std::uint8_t { kOk, kWarning, kFailure };

/// What a check says: one line.
struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string found;
  std::string advice;  // what to do; empty when there is nothing to do
};
using Findings = std::vector<Finding>;

inline Finding Fine(std::string found) { return {Verdict::kOk, std::move(found), {}}; }
inline Finding Doubtful(std::string found, std::string advice) {
  return {Verdict::kWarning, std::move(found), std::move(advice)};
}
inline Finding Wrong(std::string found, std::string advice) {
  return {Verdict::kFailure, std::move(found), std::move(advice)};
}

/// The place that is looked at. Everything is borrowed for the run.
struct Place {
  const ParsedConfig& config;
  const AppOptions& options;  // of config
  const Environment& environment;
  const std::string& library;
  std::filesystem::path proc = "/proc";
  std::filesystem::path cgroup = "/sys/fs/cgroup";

  /// The variable's value; empty when there is none.
  [[nodiscard]] std::string Variable(std::string_view name) const {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  }
  /// Where archives are unpacked.
  [[nodiscard]] std::filesystem::path UnpackFolder() const;
  /// Whether a model comes from a URI that begins so: of load_models, allowed_urls or follow.
  [[nodiscard]] bool UsesSource(std::string_view scheme) const;
};

// Each looks at one thing; no finding: it does not matter here. They need a usable configuration unless they
// are in machine_checks.cc or library_check.cc.

Findings CheckCpu(const Place& place);
Findings CheckCpuPlan(const Place& place);
Findings CheckMemory(const Place& place);
Findings CheckOpenFiles(const Place& place);
Findings CheckPlatform(const Place& place);

Findings CheckLibrary(const Place& place);

Findings CheckAddresses(const Place& place);
Findings CheckTlsFiles(const Place& place);
Findings CheckSecretFiles(const Place& place);

Findings CheckFolders(const Place& place);
Findings CheckArchives(const Place& place);
Findings CheckDisks(const Place& place);

Findings CheckMlflow(const Place& place);
Findings CheckObjectStores(const Place& place);
Findings CheckTraces(const Place& place);
Findings CheckClock(const Place& place);

/// `1.5 GiB`, `320 MiB`.
std::string SizeText(double bytes);

}  // namespace serve
