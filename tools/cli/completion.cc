#include "tools/cli/completion.h"

#include <algorithm>

#include <fmt/format.h>

namespace serve {
namespace {

/// Names of models that the server has, one a line; nothing where none answers.
constexpr std::string_view kModels =
    "  flambeau models list --json --timeout 1 2>/dev/null | grep -o '\"modelName\": *\"[^\"]*\"' | cut "
    "-d'\"' -f4\n";

constexpr std::string_view kOfModels[] = {"models", "traffic", "predict"};

/// Whether the first argument is a model that the server has.
bool TakesModel(const CommandInfo& command) {
  if (command.path.empty() || command.arguments.empty()) return false;
  if (command.arguments.front().value == "url") return false;
  return std::find(std::begin(kOfModels), std::end(kOfModels), command.path.front()) != std::end(kOfModels);
}

/// A text between single quotes of a POSIX shell.
std::string Quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c == '\n' ? ' ' : c;
    }
  }
  return quoted + "'";
}

std::string Joined(const std::vector<std::string>& words, std::string_view separator = " ") {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += separator;
    joined += word;
  }
  return joined;
}

/// The patterns of a `case` that a path and its next word match when the word is a command.
std::string Steps(const CommandInfo& root) {
  std::string steps;
  for (const CommandInfo* command : AllCommands(root)) {
    if (!command->path.empty()) steps += (steps.empty() ? "" : " | ") + Quoted(" " + command->Words());
  }
  return steps;
}

/// Options of the command, and those of the program, which stand anywhere.
std::vector<const OptionInfo*> OptionsOf(const CommandInfo& root, const CommandInfo& command) {
  std::vector<const OptionInfo*> options;
  const bool of_server = command.Words() == "serve" || command.Words() == "doctor";
  for (const OptionInfo& option : command.options) options.push_back(&option);
  if (!command.path.empty() && !of_server) {
    for (const OptionInfo& option : root.options) {
      const auto same = [&](const OptionInfo* other) { return other->names == option.names; };
      if (std::none_of(options.begin(), options.end(), same)) options.push_back(&option);
    }
  }
  return options;
}

/// The first sentence, for a menu.
std::string Short(const std::string& description) {
  std::string text = description.substr(0, std::min(description.find(". "), description.find("; ")));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

std::string BashCompletion(const CommandInfo& root) {
  std::string text = fmt::format(
      "# bash completion of flambeau; source <(flambeau completion bash)\n"
      "_flambeau_models() {{\n{}}}\n\n"
      "_flambeau() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}}\n"
      "  local where='' word words='' options='' models='' i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    word=${{COMP_WORDS[i]}}\n"
      "    case \"$where $word\" in\n"
      "      {}) where+=\" $word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  COMPREPLY=()\n"
      "  case \"$where $previous\" in\n",
      kModels, Steps(root));
  for (const CommandInfo* command : AllCommands(root)) {
    std::string files;
    const std::string prefix = command->path.empty() ? " " : " " + command->Words() + " ";
    for (const OptionInfo* option : OptionsOf(root, *command)) {
      if (option->value.empty()) continue;
      std::string patterns;
      for (const std::string& name : option->names)
        patterns += (patterns.empty() ? "" : " | ") + Quoted(prefix + name);
      if (option->choices.empty()) {
        files += (files.empty() ? "" : " | ") + patterns;
      } else {
        text += fmt::format(
            "    {})\n      mapfile -t COMPREPLY < <(compgen -W {} -- \"$current\")\n      return ;;\n",
            patterns, Quoted(Joined(option->choices)));
      }
    }
    if (!files.empty()) {
      text += fmt::format(
          "    {})\n      mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n      return ;;\n", files);
    }
  }
  text += "  esac\n  case \"$where\" in\n";
  for (const CommandInfo* command : AllCommands(root)) {
    std::vector<std::string> words;
    std::vector<std::string> options;
    for (const CommandInfo& inner : command->commands) words.push_back(inner.path.back());
    for (const OptionInfo& argument : command->arguments)
      words.insert(words.end(), argument.choices.begin(), argument.choices.end());
    for (const OptionInfo* option : OptionsOf(root, *command))
      options.insert(options.end(), option->names.begin(), option->names.end());
    text += fmt::format("    {}) words={} options={}{} ;;\n",
                        Quoted(command->path.empty() ? "" : " " + command->Words()), Quoted(Joined(words)),
                        Quoted(Joined(options)), TakesModel(*command) ? " models=yes" : "");
  }
  text +=
      "  esac\n"
      "  if [[ $current == -* ]]; then words=$options; fi\n"
      "  if [[ $models && $current != -* ]]; then words=$(_flambeau_models); fi\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "  if ((${#COMPREPLY[@]} == 0)); then mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n"
      "}\n"
      "complete -o filenames -F _flambeau flambeau\n";
  return text;
}

std::string ZshCompletion(const CommandInfo& root) {
  // A colon divides a word from its description.
  const auto item = [](const std::string& name, const std::string& description) {
    std::string escaped;
    for (const char c : name) escaped += c == ':' ? "\\:" : std::string(1, c);
    return Quoted(escaped + ":" + Short(description));
  };
  std::string text = fmt::format(
      "#compdef flambeau\n"
      "# zsh completion of flambeau; source <(flambeau completion zsh), or put it into a folder of fpath as "
      "_flambeau\n"
      "_flambeau_models() {{\n{}}}\n\n"
      "_flambeau() {{\n"
      "  local where='' word i\n"
      "  local -a commands options names values\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    word=$words[i]\n"
      "    case \"$where $word\" in\n"
      "      {}) where+=\" $word\" ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$where\" in\n",
      kModels, Steps(root));
  for (const CommandInfo* command : AllCommands(root)) {
    std::vector<std::string> commands;
    std::vector<std::string> options;
    std::vector<std::string> values;
    for (const CommandInfo& inner : command->commands)
      commands.push_back(item(inner.path.back(), inner.description));
    for (const OptionInfo* option : OptionsOf(root, *command)) {
      for (const std::string& name : option->names) options.push_back(item(name, option->description));
      if (option->value.empty()) continue;
      for (const std::string& name : option->names) values.push_back(Quoted(name));
    }
    text += fmt::format("    {})\n      commands=({})\n      options=({})\n      values=({})\n",
                        Quoted(command->path.empty() ? "" : " " + command->Words()), Joined(commands),
                        Joined(options, "\n        "), Joined(values));
    if (TakesModel(*command)) text += "      names=(${(f)\"$(_flambeau_models)\"})\n";
    text += "      ;;\n";
  }
  text +=
      "  esac\n"
      "  if (( ${values[(Ie)$words[CURRENT-1]]} )); then _files; return; fi\n"
      "  (( $#commands )) && _describe command commands\n"
      "  (( $#names )) && compadd -a names\n"
      "  if [[ $words[CURRENT] == -* ]]; then _describe option options; elif (( ! $#commands )); then "
      "_files; fi\n"
      "}\n"
      "if [[ $funcstack[1] == _flambeau ]]; then _flambeau \"$@\"; else compdef _flambeau flambeau; fi\n";
  return text;
}

std::string FishCompletion(const CommandInfo& root) {
  // fish escapes a quote with a backslash.
  const auto quoted = [](std::string_view text) {
    std::string out = "'";
    for (const char c : text) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c == '\n' ? ' ' : c;
    }
    return out + "'";
  };
  std::string steps = Steps(root);
  for (std::size_t at = steps.find(" | "); at != std::string::npos; at = steps.find(" | ", at))
    steps.erase(at, 2);
  std::string text = fmt::format(
      "# fish completion of flambeau; flambeau completion fish | source\n"
      "function __flambeau_models\n{}end\n\n"
      "function __flambeau_at\n"
      "  set -l where ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$where $word\"\n"
      "      case {}\n"
      "        set where \"$where $word\"\n"
      "    end\n"
      "  end\n"
      "  test \"$where\" = \"$argv[1]\"\n"
      "end\n\n",
      kModels, steps);
  for (const CommandInfo* command : AllCommands(root)) {
    const std::string at =
        quoted(fmt::format("__flambeau_at \"{}\"", command->path.empty() ? "" : " " + command->Words()));
    const std::string line = fmt::format("complete -c flambeau -n {}", at);
    for (const CommandInfo& inner : command->commands)
      text += fmt::format("{} -f -a {} -d {}\n", line, inner.path.back(), quoted(Short(inner.description)));
    if (TakesModel(*command)) text += fmt::format("{} -a '(__flambeau_models)'\n", line);
    for (const OptionInfo* option : OptionsOf(root, *command)) {
      text += line;
      for (const std::string& name : option->names)
        text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option->value.empty()) text += " -r";
      if (!option->choices.empty()) text += " -f -a " + quoted(Joined(option->choices));
      text += fmt::format(" -d {}\n", quoted(Short(option->description)));
    }
  }
  return text;
}

}  // namespace serve
