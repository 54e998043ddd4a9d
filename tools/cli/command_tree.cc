#include "tools/cli/command_tree.h"

#include "serve/config/settings.h"

namespace serve {
namespace {

/// `{high,normal,low}` in what the parser says of the type.
std::vector<std::string> ChoicesOf(const std::string& type) {
  std::vector<std::string> choices;
  const std::size_t open = type.find('{');
  const std::size_t close = type.find('}', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return choices;
  for (std::size_t begin = open + 1; begin < close;) {
    const std::size_t end = std::min(type.find(',', begin), close);
    choices.push_back(type.substr(begin, end - begin));
    begin = end + 1;
  }
  return choices;
}

OptionInfo OptionOf(const CLI::Option& option) {
  OptionInfo info;
  for (const std::string& name : option.get_lnames()) info.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) info.names.push_back("-" + name);
  const std::string type = option.get_type_name();
  if (info.names.empty()) {
    info.value = option.get_name(true);
  } else if (option.get_items_expected_max() > 0) {
    info.value = type.substr(0, type.find(':'));
  }
  info.choices = ChoicesOf(type);
  info.description = option.get_description();
  info.default_text = option.get_default_str();
  info.environment = option.get_envname();
  info.required = option.get_required();
  return info;
}

void AddOptions(const CLI::App& app, CommandInfo& command) {
  for (const CLI::Option* option : app.get_options()) {
    OptionInfo info = OptionOf(*option);
    (info.names.empty() ? command.arguments : command.options).push_back(std::move(info));
  }
}

/// What `serve` and `doctor` take.
void AddSettings(CommandInfo& command) {
  const auto add = [&command](std::string name, std::string value, std::string description,
                              std::string environment = {}, std::string default_text = {}) {
    OptionInfo option;
    option.names = {std::move(name)};
    option.value = std::move(value);
    option.description = std::move(description);
    option.environment = std::move(environment);
    option.default_text = std::move(default_text);
    command.options.push_back(std::move(option));
  };
  add("--config", "FILE", "Configuration file; without it ./config.properties is read when it exists",
      "FLAMBEAU_CONFIG_FILE");
  if (command.Words() == "serve") {
    add("--check-config", "", "Say what is wrong, show every value and where it came from, and end");
  } else {
    add("--json", "", "Print one JSON object");
  }
  for (const Setting& setting : Settings()) {
    add(FlagOf(setting.key), setting.value, setting.help, EnvironmentName("FLAMBEAU_", setting.key),
        setting.default_text);
  }
}

CommandInfo Read(const CLI::App& app, std::vector<std::string> path) {
  CommandInfo command;
  command.path = std::move(path);
  command.description = app.get_description();
  command.footer = app.get_footer();
  AddOptions(app, command);
  for (const CLI::App* inner : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (inner->get_name().empty()) {  // a group of options
      AddOptions(*inner, command);
      continue;
    }
    std::vector<std::string> below = command.path;
    below.push_back(inner->get_name());
    command.commands.push_back(Read(*inner, std::move(below)));
  }
  if (const std::string words = command.Words(); words == "serve" || words == "doctor") AddSettings(command);
  return command;
}

void Collect(const CommandInfo& command, std::vector<const CommandInfo*>& all) {
  all.push_back(&command);
  for (const CommandInfo& inner : command.commands) Collect(inner, all);
}

}  // namespace

std::string CommandInfo::Words() const {
  std::string words;
  for (const std::string& word : path) words += (words.empty() ? "" : " ") + word;
  return words;
}

CommandInfo TreeOf(const CLI::App& app) { return Read(app, {}); }

std::vector<const CommandInfo*> AllCommands(const CommandInfo& root) {
  std::vector<const CommandInfo*> all;
  Collect(root, all);
  return all;
}

}  // namespace serve
