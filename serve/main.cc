#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/app/server.h"
#include "serve/config/config.h"
#include "serve/runtime/shared_library.h"
#include "tools/archiver/model_archiver.h"
#include "tools/cli/commands.h"
#include "tools/doctor/doctor.h"
#include "tools/launcher/torchserve.h"

namespace {

constexpr const char* kRuntimeLibrary = "libflambeau_torchscript.so";

/// libtorch's threads wait for each other by spinning for milliseconds. Where they do not have every CPU to
/// themselves (a container's quota, two models, a busy machine) the one that is waited for cannot run
/// meanwhile, and a model takes several times as long. Spinning for some ten microseconds costs nothing
/// measurable elsewhere. What the environment says already, stays.
void LimitSpinning() {
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "20000", 0);
}

std::vector<std::unique_ptr<serve::RuntimeFactory>> Runtimes() {
  std::vector<std::unique_ptr<serve::RuntimeFactory>> factories;
  factories.push_back(std::make_unique<serve::SharedLibraryFactory>(
      kRuntimeLibrary, std::vector<std::string>{".pt", ".pth", ".pt2"}));
  return factories;
}

int Serve(const std::vector<std::string>& args, const std::function<void()>& listening) {
  LimitSpinning();  // before a thread is started, and before the library is loaded that reads it
  return serve::RunServe(args, Runtimes, listening);
}

}  // namespace

/// `flambeau serve …` is the server; other words are tools that talk to one, or work on archives. The names
/// of TorchServe's own programs (links to this one, or the first word) bring their command lines. The server
/// starts `search-variants` itself.
int main(int argc, char** argv) try {
  std::vector<std::string> words(argv, argv + argc);
  if (words.empty()) words.emplace_back();
  std::string name = words[0].substr(words[0].rfind('/') + 1);
  const auto is_program = [](std::string_view word) {
    return word == "serve" || word == "doctor" || word == "torchserve" || word == "torch-model-archiver" ||
           word == "search-variants";
  };
  std::size_t first = 1;
  if (!is_program(name) && words.size() > 1 && is_program(words[1])) name = words[first++];
  const std::vector<std::string> args(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
  if (name == "serve") return Serve(args, {});
  if (name == "search-variants") {
    return serve::RunSearch(args, Runtimes);
  }
  if (name == "doctor") {
    return serve::RunDoctor(args, serve::ProcessEnvironment(), kRuntimeLibrary, std::cout, std::cerr);
  }
  if (name == "torchserve") return serve::RunTorchserve(args, {std::cin, std::cout, std::cerr}, Serve);
  if (name == "torch-model-archiver") return serve::RunModelArchiver(args, std::cout, std::cerr);
  return serve::RunTool(argc, argv);
} catch (const std::exception& error) {  // out of memory, say; never a reason to end without a word
  std::fprintf(stderr, "error: %s\n", error.what());
  return 1;
}
