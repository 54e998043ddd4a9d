#pragma once

#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/runtime/runtime.h"

namespace serve {

using RuntimeFactories = std::vector<std::unique_ptr<RuntimeFactory>>;

/// What a runtime library exports under the name kRuntimeEntry: appends its factories, the one to be asked
/// first in front.
using MakeRuntimeFactories = void (*)(RuntimeFactories*);
inline constexpr const char* kRuntimeEntry = "FlambeauMakeRuntimeFactories";
/// Likewise: what was loaded, in one line for people (`libtorch 2.13.0, kernels for AVX512`). Static memory.
using DescribeRuntime = const char* (*)();
inline constexpr const char* kRuntimeDescription = "FlambeauDescribeRuntime";

/// Where a runtime library is looked for: beside this program, then in ../lib/flambeau.
std::vector<std::filesystem::path> LibraryPlaces(const std::string& library);

/// The runtimes of a shared library, which is loaded in the background: libtorch takes a quarter of a second,
/// in which the server already listens and unpacks, and the tools of the same program do without it.
///
/// No thread can be started while the dynamic linker relocates a library (glibc's lock; 50 to 100 ms of
/// libtorch's time). A server that starts needs several, the last of which unpacks the model; so the library
/// waits for Begin, which that thread calls, but 50 ms at most: a server without a model needs it later.
///
/// Threads: Load waits until the library is there. Errors: kInternal with the loader's own text;
/// kInvalidArgument for a file that no factory of the library takes.
class SharedLibraryFactory final : public RuntimeFactory {
 public:
  /// `library`: a file name beside this program or in ../lib/flambeau. `endings`: of the artifacts that
  /// its factories take, e.g. ".pt".
  SharedLibraryFactory(std::string library, std::vector<std::string> endings);
  void Begin() override;
  [[nodiscard]] bool Accepts(const std::filesystem::path& file) const override;
  Result<std::unique_ptr<Runtime>> Load(const std::filesystem::path& file,
                                        const RuntimeOptions& options) override;

 private:
  using Opened = Result<std::shared_ptr<RuntimeFactories>>;
  static Opened Open(const std::string& library);

  const std::vector<std::string> endings_;
  std::mutex mutex_;  // guards begun_
  std::condition_variable changed_;
  bool begun_ = false;
  std::shared_future<Opened> opened_;  // last: its thread uses the others, and its end waits for the thread
};

}  // namespace serve
