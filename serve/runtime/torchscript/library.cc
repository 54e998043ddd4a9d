#include "serve/runtime/shared_library.h"
#include "serve/runtime/torchscript/torchscript_runtime.h"

/// The entry of libflambeau_torchscript.so.
extern "C" serve::RuntimeFactory* FlambeauMakeRuntimeFactory() { return new serve::TorchScriptFactory(); }
