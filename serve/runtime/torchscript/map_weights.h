#pragma once

#include <filesystem>

#include <torch/csrc/jit/api/module.h>

namespace serve {

/// Loads a TorchScript archive as torch::jit::load does, but leaves its large weights in the file, which is
/// mapped into memory: they are read when they are first used, processes that run the same file share them,
/// and the system may drop what is not used (the rows of an embedding that no text needs, weights that were
/// packed into another layout). What cannot be mapped is a copy, as ever.
///
/// Nobody may change the file while the module or a tensor of it lives; it may be removed.
/// Throws c10::Error for what is no such archive.
torch::jit::Module LoadMapped(const std::filesystem::path& file);

}  // namespace serve
