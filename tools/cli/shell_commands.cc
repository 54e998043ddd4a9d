#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "tools/cli/completion.h"
#include "tools/cli/man_pages.h"
#include "tools/cli/server_commands.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

struct Shell {
  const char* name;
  std::string (*script)(const CommandInfo&);
  const char* place;  // below share
};
constexpr Shell kShells[] = {{"bash", BashCompletion, "bash-completion/completions/flambeau"},
                             {"zsh", ZshCompletion, "zsh/site-functions/_flambeau"},
                             {"fish", FishCompletion, "fish/vendor_completions.d/flambeau.fish"}};

Status Write(const fs::path& file, const std::string& text) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  if (!stream.flush()) return Internal(fmt::format("cannot write {}", file.string()));
  return {};
}

/// Everything that belongs below PREFIX/share.
Status WriteShare(const CommandInfo& root, const fs::path& share) {
  for (const Shell& shell : kShells) {
    if (Status status = Write(share / shell.place, shell.script(root)); !status.ok()) return status;
  }
  if (Status status = Write(share / "man/man1/flambeau.1", ManPage(root, root)); !status.ok()) return status;
  for (const CommandInfo& command : root.commands) {
    const fs::path file = share / "man/man1" / fmt::format("flambeau-{}.1", command.path.front());
    if (Status status = Write(file, ManPage(root, command)); !status.ok()) return status;
  }
  return {};
}

}  // namespace

void AddShellCommands(CLI::App& app, const ApiClient& client, int& exit_code) {
  CLI::App* completion =
      app.add_subcommand("completion", "Print a script that completes commands in a shell");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->footer(
      "Examples:\n  source <(flambeau completion bash)\n"
      "  flambeau completion fish > ~/.config/fish/completions/flambeau.fish");
  completion->callback([&app, &client, shell] {
    for (const Shell& one : kShells) {
      if (*shell == one.name) client.out() << one.script(TreeOf(app));
    }
  });

  CLI::App* man = app.add_subcommand("man", "Print a manual page");
  struct Arguments {
    std::string command;
    std::string share;
  };
  auto typed = std::make_shared<Arguments>();
  man->add_option("command", typed->command, "A command [the program itself]");
  man->add_option("--share", typed->share,
                  "Write all pages and the completions for shells below this folder instead");
  man->footer("Examples:\n  flambeau man serve | man -l -\n  flambeau man --share /usr/local/share");
  man->callback([&app, &client, &exit_code, typed] {
    const CommandInfo root = TreeOf(app);
    if (!typed->share.empty()) {
      const Status status = WriteShare(root, typed->share);
      if (!status.ok()) exit_code = client.Fail(status);
      return;
    }
    const CommandInfo* found = typed->command.empty() ? &root : nullptr;
    for (const CommandInfo& command : root.commands) {
      if (command.path.front() == typed->command) found = &command;
    }
    if (found == nullptr) {
      client.err() << fmt::format("error: there is no command {}; `flambeau --help` lists them\n",
                                  typed->command);
      exit_code = kToolUsage;
      return;
    }
    client.out() << ManPage(root, *found);
  });
}

}  // namespace serve
