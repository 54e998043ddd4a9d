#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/app/server.h"
#include "serve/runtime/torchscript/torchscript_runtime.h"
#include "tools/cli/commands.h"

/// `flambeau serve …` is the server; every other word is a tool that talks to one, or works on archives.
int main(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "serve") return serve::RunTool(argc, argv);
  std::vector<std::unique_ptr<serve::RuntimeFactory>> factories;
  factories.push_back(std::make_unique<serve::TorchScriptFactory>());
  return serve::RunServe(std::vector<std::string>(argv + 2, argv + argc), std::move(factories));
}
