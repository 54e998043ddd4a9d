#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace serve {

/// An option, a flag, or (without names) an argument of a command.
struct OptionInfo {
  std::vector<std::string> names;  // `--watch`, `-w`; empty: it is told by its place
  std::string value;               // what it takes: `SECONDS`, or the name of the argument; empty: a flag
  std::vector<std::string> choices;
  std::string description;
  std::string default_text;
  std::string environment;
  bool required = false;
};

/// A command with everything that can be typed after it.
struct CommandInfo {
  std::vector<std::string> path;  // `models list`; empty: the program itself
  std::string description;
  std::string footer;
  std::vector<OptionInfo> options;
  std::vector<OptionInfo> arguments;
  std::vector<CommandInfo> commands;

  /// `models list`
  [[nodiscard]] std::string Words() const;
};

/// Reads the command line of the program from the parser itself, so that nothing can be out of date. `serve`
/// and `doctor`, which the parser knows by name only, get every setting of the server.
CommandInfo TreeOf(const CLI::App& app);

/// The command and all below it, the outer ones first.
std::vector<const CommandInfo*> AllCommands(const CommandInfo& root);

}  // namespace serve
