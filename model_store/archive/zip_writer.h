#pragma once

#include <filesystem>
#include <memory>

#include "model_store/archive/writer.h"
#include "serve/base/status.h"

namespace serve {

/// Opens a writer of a zip file, which must not exist. `store_all`: nothing is compressed. Else a file whose
/// sample shrinks by less than a fifth is stored: weights shrink by a tenth, and inflating them would take
/// longer than loading them.
///
/// Sizes and checksum stand in front of each entry, not behind it. That is what TorchServe needs to read a
/// stored one (Java's ZipInputStream), and why libarchive, which writes them behind, does not write these
/// files.
Result<std::unique_ptr<ArchiveWriter>> OpenZipWriter(const std::filesystem::path& output, bool store_all);

}  // namespace serve
