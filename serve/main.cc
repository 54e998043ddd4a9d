#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/app/server.h"
#include "serve/runtime/shared_library.h"
#include "tools/cli/commands.h"

/// `flambeau serve …` is the server; every other word is a tool that talks to one, or works on archives.
int main(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "serve") return serve::RunTool(argc, argv);
  const auto runtimes = [] {
    std::vector<std::unique_ptr<serve::RuntimeFactory>> factories;
    factories.push_back(std::make_unique<serve::SharedLibraryFactory>(
        "libflambeau_torchscript.so", std::vector<std::string>{".pt", ".pth", ".pt2"}));
    return factories;
  };
  return serve::RunServe(std::vector<std::string>(argv + 2, argv + argc), runtimes);
}
