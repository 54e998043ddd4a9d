#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "serve/base/status.h"

namespace serve {

/// A `.pt2` package that lies unpacked on the disk: native code that AOTInductor made of one model, for one
/// kind of machine. Loading the code runs it: whoever made the package can do what the server can do.
struct Package {
  std::filesystem::path folder;                 // holds data/aotinductor/<model>/
  std::string model;                            // "model", unless the package has one model of another name
  std::filesystem::path source;                 // the generated C++ beside the library; may be missing
  std::map<std::string, std::string> metadata;  // what the compiler wrote down, such as AOTI_CPU_ISA
};

/// Unpacks `file` into the empty folder `folder` and reads its metadata; none of its code is run.
///
/// Errors: kInvalidArgument that tells an empty, damaged or foreign file, a TorchScript file and an exported
/// program that was not compiled from each other and says what to do; kInternal for the disk.
/// Source: the layout that `torch._inductor.aoti_compile_and_package` of torch 2.13 writes.
Result<Package> OpenPackage(const std::filesystem::path& file, const std::filesystem::path& folder);

/// Whether the file is such a package, whatever its name is. Reads only the zip's directory.
bool IsPackage(const std::filesystem::path& file);

}  // namespace serve
