#pragma once

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "serve/runtime/runtime.h"

namespace serve {

/// What a runtime library exports under the name kRuntimeEntry. The caller owns the factory.
using MakeRuntimeFactory = RuntimeFactory* (*)();
inline constexpr const char* kRuntimeEntry = "FlambeauMakeRuntimeFactory";

/// A runtime in a shared library, which is loaded in the background from construction on: libtorch takes a
/// quarter of a second, in which the server already listens, and the tools of the same program do without it.
///
/// Threads: Load waits until the library is there. Errors: kInternal with the loader's own text.
class SharedLibraryFactory final : public RuntimeFactory {
 public:
  /// `library`: a file name beside this program or in ../lib. `endings`: of the artifacts that it takes, e.g.
  /// ".pt".
  SharedLibraryFactory(std::string library, std::vector<std::string> endings);
  [[nodiscard]] bool Accepts(const std::filesystem::path& file) const override;
  Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                        const RuntimeOptions& options) override;

 private:
  using Opened = Result<std::shared_ptr<RuntimeFactory>>;
  static Opened Open(const std::string& library);

  const std::vector<std::string> endings_;
  std::shared_future<Opened> opened_;
};

}  // namespace serve
