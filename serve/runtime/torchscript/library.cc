#include <memory>
#include <string>

#include <ATen/Context.h>
#include <ATen/Version.h>

#include "serve/runtime/aoti/aoti_runtime.h"
#include "serve/runtime/shared_library.h"
#include "serve/runtime/torchscript/block_cache.h"
#include "serve/runtime/torchscript/torchscript_runtime.h"

/// The entry of libflambeau_torchscript.so. A package under the ending .pt is refused by AotiFactory, which
/// is therefore asked first.
extern "C" void FlambeauMakeRuntimeFactories(serve::RuntimeFactories* factories) {
  serve::KeepLargeTensors();
  factories->push_back(std::make_unique<serve::AotiFactory>());
  factories->push_back(std::make_unique<serve::TorchScriptFactory>());
}

extern "C" const char* FlambeauDescribeRuntime() {
  static const std::string text = std::string("libtorch ") + serve::LibtorchVersion() + ", kernels for " +
                                  at::get_cpu_capability() + (at::hasMKL() ? ", MKL" : "") +
                                  (at::hasMKLDNN() ? ", oneDNN" : "");
  return text.c_str();
}
