#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/app/server.h"
#include "serve/runtime/shared_library.h"
#include "tools/cli/commands.h"

namespace {

/// libtorch's threads wait for each other by spinning for milliseconds. Where they do not have every CPU to
/// themselves (a container's quota, two models, a busy machine) the one that is waited for cannot run
/// meanwhile, and a model takes several times as long. Spinning for some ten microseconds costs nothing
/// measurable elsewhere. What the environment says already, stays.
void LimitSpinning() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "20000", 0);
}

}  // namespace

/// `flambeau serve …` is the server; every other word is a tool that talks to one, or works on archives.
int main(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "serve") return serve::RunTool(argc, argv);
  LimitSpinning();  // before a thread is started, and before the library is loaded that reads it
  const auto runtimes = [] {
    std::vector<std::unique_ptr<serve::RuntimeFactory>> factories;
    factories.push_back(std::make_unique<serve::SharedLibraryFactory>(
        "libflambeau_torchscript.so", std::vector<std::string>{".pt", ".pth", ".pt2"}));
    return factories;
  };
  return serve::RunServe(std::vector<std::string>(argv + 2, argv + argc), runtimes);
}
