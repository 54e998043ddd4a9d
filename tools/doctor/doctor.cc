#include "tools/doctor/doctor.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <span>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "serve/base/work_folder.h"
#include "tools/doctor/checks.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

struct Check {
  std::string_view name;
  Findings (*look)(const Place&);
  bool needs_settings;  // is left out when the settings are unusable
};

/// In the order of the report: the machine, the program, what clients reach, what it serves.
constexpr Check kChecks[] = {
    {"cpu", CheckCpu, false},
    {"cpu plan", CheckCpuPlan, true},
    {"memory", CheckMemory, true},
    {"open files", CheckOpenFiles, true},
    {"platform", CheckPlatform, true},
    {"libtorch", CheckLibrary, false},
    {"address", CheckAddresses, true},
    {"tls", CheckTlsFiles, true},
    {"secrets", CheckSecretFiles, true},
    {"folder", CheckFolders, true},
    {"disk", CheckDisks, true},
    {"archive", CheckArchives, true},
    {"clock", CheckClock, true},
    {"mlflow", CheckMlflow, true},
    {"object store", CheckObjectStores, true},
    {"traces", CheckTraces, true},
};

constexpr std::string_view kHelp =
    "flambeau doctor: looks at the place where a server would run\n\n"
    "Usage: flambeau doctor [--json] [--config FILE] [--NAME VALUE | --NAME=VALUE]...\n\n"
    "Takes every setting of `flambeau serve` (flags, environment, configuration file), starts nothing, and\n"
    "prints one line for each thing that it looked at:\n\n"
    "  ok|warn|FAIL  name  what was found → what to do\n\n"
    "  --json    one JSON object: {\"ok\", \"failures\", \"warnings\", \"checks\": [{\"name\", \"verdict\", "
    "\"found\", \"advice\"}]}\n\n"
    "Exit codes: 0 nothing is wrong (there may be warnings), 1 something is, 2 wrong usage.\n"
    "Examples:\n"
    "  flambeau doctor --config config.properties\n"
    "  flambeau doctor --model-store model_store --models all --json\n";

struct Line {
  std::string_view name;
  Finding finding;
};

constexpr std::string_view kNames[] = {"ok", "warn", "FAIL"};
constexpr std::string_view kColours[] = {"\x1b[32m", "\x1b[33m", "\x1b[31m"};

Findings CheckSettings(const ParsedConfig& config) {
  Findings findings;
  for (const std::string& error : config.errors)
    findings.push_back(Wrong(error, "`flambeau serve --check-config` shows where each value is from"));
  for (const std::string& warning : config.warnings) findings.push_back(Doubtful(warning, ""));
  for (const std::string& unknown : config.unknown_keys)
    findings.push_back(Doubtful(unknown, "correct or remove it: a server ignores it"));
  if (!findings.empty()) return findings;
  for (const std::string& note : config.notes) findings.push_back(Fine(note));
  if (findings.empty()) findings.push_back(Fine("the settings are usable"));
  return findings;
}

std::string Text(const Line& line, bool colour) {
  const auto verdict = static_cast<std::size_t>(line.finding.verdict);
  const std::string word = fmt::format("{:<4}", kNames[verdict]);
  std::string text = colour ? fmt::format("{}{}\x1b[0m", kColours[verdict], word) : word;
  text += fmt::format("  {:<12}  {}", line.name, line.finding.found);
  if (!line.finding.advice.empty()) text += " → " + line.finding.advice;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text + "\n";
}

}  // namespace

std::string SizeText(double bytes) {
  if (bytes >= 10.0 * (1ULL << 30)) return fmt::format("{:.0f} GiB", bytes / (1ULL << 30));
  if (bytes >= 1ULL << 30) return fmt::format("{:.1f} GiB", bytes / (1ULL << 30));
  if (bytes >= 1ULL << 20) return fmt::format("{:.0f} MiB", bytes / (1ULL << 20));
  return fmt::format("{:.0f} KiB", std::ceil(bytes / 1024));
}

fs::path Place::UnpackFolder() const {
  if (!options.management_api.unpack_folder.empty()) return options.management_api.unpack_folder;
  return FolderOfTemporaryFiles();
}

bool Place::UsesSource(std::string_view scheme) const {
  const auto holds = [&](const std::string& text) { return text.find(scheme) != std::string::npos; };
  return holds(options.load_models) || holds(options.management_api.allowed_urls) ||
         holds(options.follow.models);
}

int RunDoctor(const std::vector<std::string>& args, const Environment& environment,
              const std::string& library, std::ostream& out, std::ostream& err) {
  bool json = false;
  std::vector<std::string> settings;
  for (const std::string& word : args) {
    if (word == "--json") {
      json = true;
    } else {
      settings.push_back(word);
    }
  }
  const ParsedConfig config = ParseConfig(settings, environment);
  if (config.action == ParsedConfig::Action::kHelp) {
    out << kHelp;
    return 0;
  }
  if (config.action == ParsedConfig::Action::kVersion) {
    out << "flambeau " FLAMBEAU_VERSION "\n";
    return 0;
  }
  if (config.usage_error) {
    for (const std::string& error : config.errors) err << "error: " << error << "\n";
    err << "`flambeau doctor --help` says how it is used.\n";
    return 2;
  }

  const bool colour =
      !json && &out == &std::cout && ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  const Place place{config, config.options, environment, library};
  std::size_t counts[3] = {0, 0, 0};
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  const auto report = [&](std::string_view name, const Findings& findings) {
    for (const Finding& finding : findings) {
      ++counts[static_cast<std::size_t>(finding.verdict)];
      if (json) {
        all.push_back({{"name", name},
                       {"verdict", kNames[static_cast<std::size_t>(finding.verdict)]},
                       {"found", finding.found},
                       {"advice", finding.advice}});
      } else {
        out << Text({name, finding}, colour) << std::flush;  // some checks take seconds
      }
    }
  };
  report("settings", CheckSettings(config));
  for (const Check& check : kChecks) {
    if (check.needs_settings && !config.errors.empty()) continue;
    report(check.name, check.look(place));
  }
  const std::size_t warnings = counts[1];
  const std::size_t failures = counts[2];
  if (json) {
    const nlohmann::ordered_json object = {
        {"ok", failures == 0}, {"failures", failures}, {"warnings", warnings}, {"checks", std::move(all)}};
    out << object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
  } else {
    out << fmt::format("\n{} ok, {} warning{}, {} failure{}\n", counts[0], warnings, warnings == 1 ? "" : "s",
                       failures, failures == 1 ? "" : "s");
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace serve
