#include <algorithm>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "serve/config/config.h"
#include "serve/config/settings.h"

namespace serve {
namespace {

constexpr std::size_t kWidth = 100;

/// Breaks `text` into lines of kWidth that begin with `indent` blanks.
std::string Wrapped(std::string_view text, std::size_t indent) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (indent + end > kWidth) {
      end = text.rfind(' ', kWidth - indent);
      if (end == std::string_view::npos || end == 0) end = std::min(text.find(' '), text.size());
    }
    out += std::string(indent, ' ');
    out += text.substr(0, end);
    out += '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

void AppendList(std::string& out, std::string_view title, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) out += fmt::format("{}: {}\n", title, line);
}

}  // namespace

std::string HelpText() {
  std::string out =
      "flambeau serve: serves PyTorch models over HTTP\n\n"
      "Usage: flambeau serve [--config FILE] [--NAME VALUE | --NAME=VALUE]...\n\n"
      "Each setting is a flag, an environment variable and a key of the configuration file; a flag is "
      "stronger than\n"
      "the environment, the environment than the file. The key is the flag's name with _ for -, the variable "
      "is\n"
      "FLAMBEAU_ and the key in capitals; TorchServe's TS_... names are read too.\n\n"
      "  --config FILE       configuration file (also --ts-config, FLAMBEAU_CONFIG_FILE, TS_CONFIG_FILE);\n"
      "                      without it ./config.properties is read when it exists\n"
      "  --check-config      says what is wrong, unknown keys included, shows every value and where it\n"
      "                      came from, and ends; exit code 1 when something is wrong\n"
      "  --help, --version\n";
  std::string_view group;
  for (const Setting& setting : Settings()) {
    if (setting.group != group) {
      group = setting.group;
      out += fmt::format("\n{}:\n", group);
    }
    const std::string default_text = setting.default_text.empty() ? "not set" : setting.default_text;
    out += fmt::format("  {} {}   [default: {}]\n", FlagOf(setting.key), setting.value, default_text);
    out += Wrapped(setting.help, 6);
    out += fmt::format("      {}\n", EnvironmentName("FLAMBEAU_", setting.key));
  }
  out +=
      "\nExamples:\n"
      "  flambeau serve --model-store model_store --models all\n"
      "      serves every archive of a folder on the loopback addresses\n"
      "  flambeau serve --config config.properties --inference-address http://0.0.0.0:8080 --log-format "
      "json\n"
      "      the same in a container, with the rest from a file\n"
      "  flambeau serve --inference-address http://127.0.0.1:0 --port-file ports.json\n"
      "      on any free port, which is written to a file\n"
      "  FLAMBEAU_BATCH_SIZE=16 flambeau serve --check-config\n"
      "      shows what would be used\n";
  return out;
}

std::string CheckReport(const ParsedConfig& config) {
  std::string out;
  AppendList(out, "error", config.errors);
  AppendList(out, "error", config.unknown_keys);
  AppendList(out, "warning", config.warnings);
  AppendList(out, "note", config.notes);
  const auto count = [](std::size_t n, std::string_view what) {
    return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
  };
  const std::size_t errors = config.errors.size();
  const std::size_t unknown = config.unknown_keys.size();
  if (errors > 0) {
    out += fmt::format("The configuration is not usable: {}.\n", count(errors + unknown, "error"));
  } else if (unknown > 0) {
    out += fmt::format("A server would start and ignore {}; remove or correct what has no effect.\n",
                       count(unknown, "unknown key"));
  } else {
    out += "The configuration is usable.\n";
  }
  out += '\n';
  std::size_t width = 0;
  for (const EffectiveValue& value : config.values) width = std::max(width, value.key.size());
  for (const EffectiveValue& value : config.values) {
    out += fmt::format("{:<{}} = {}   ({})\n", value.key, width, value.value, value.source);
  }
  return out;
}

int CheckExitCode(const ParsedConfig& config) {
  if (config.usage_error) return 2;
  return config.errors.empty() && config.unknown_keys.empty() ? 0 : 1;
}

}  // namespace serve
