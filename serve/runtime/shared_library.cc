#include "serve/runtime/shared_library.h"

#include <algorithm>
#include <chrono>
#include <dlfcn.h>
#include <utility>

#include <fmt/format.h>

namespace serve {

std::vector<std::filesystem::path> LibraryPlaces(const std::string& library) {
  std::error_code error;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  return {here / library, here / "../lib/flambeau" / library};
}

SharedLibraryFactory::SharedLibraryFactory(std::string library, std::vector<std::string> endings)
    : endings_(std::move(endings)),
      opened_(std::async(std::launch::async, [this, library = std::move(library)] {
        {
          std::unique_lock lock(mutex_);
          changed_.wait_for(lock, std::chrono::milliseconds(50), [this] { return begun_; });
        }
        return Open(library);
      })) {}

void SharedLibraryFactory::Begin() {
  {
    const std::lock_guard lock(mutex_);
    begun_ = true;
  }
  changed_.notify_one();
}

SharedLibraryFactory::Opened SharedLibraryFactory::Open(const std::string& library) {
  std::string reasons;
  for (const std::filesystem::path& path : LibraryPlaces(library)) {
    // Never closed: libtorch does not survive it.
    void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (handle == nullptr) {
      reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", dlerror());
      continue;
    }
    const auto make = reinterpret_cast<MakeRuntimeFactories>(dlsym(handle, kRuntimeEntry));
    if (make == nullptr) return Internal(fmt::format("{} is no runtime library", path.string()));
    auto factories = std::make_shared<RuntimeFactories>();
    make(factories.get());
    return factories;
  }
  return Internal(fmt::format("cannot load the runtime library {}: {}", library, reasons));
}

bool SharedLibraryFactory::Accepts(const std::filesystem::path& file) const {
  return std::find(endings_.begin(), endings_.end(), file.extension().string()) != endings_.end();
}

Result<std::unique_ptr<Runtime>> SharedLibraryFactory::Load(const std::filesystem::path& file,
                                                            const RuntimeOptions& options) {
  Begin();
  const Opened& opened = opened_.get();
  if (!opened) return opened.error();
  for (const auto& factory : **opened) {
    if (factory->Accepts(file)) return factory->Load(file, options);
  }
  return InvalidArgument(fmt::format("no runtime takes the ending {}", file.extension().string()));
}

}  // namespace serve
