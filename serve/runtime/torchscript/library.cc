#include <memory>

#include "serve/runtime/aoti/aoti_runtime.h"
#include "serve/runtime/shared_library.h"
#include "serve/runtime/torchscript/torchscript_runtime.h"

/// The entry of libflambeau_torchscript.so. A package under the ending .pt is refused by AotiFactory, which
/// is therefore asked first.
extern "C" void FlambeauMakeRuntimeFactories(serve::RuntimeFactories* factories) {
  factories->push_back(std::make_unique<serve::AotiFactory>());
  factories->push_back(std::make_unique<serve::TorchScriptFactory>());
}
