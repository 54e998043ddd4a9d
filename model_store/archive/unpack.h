#pragma once

#include <filesystem>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"

namespace serve {

enum class PackedFormat : std::uint8_t { kZip, kTarGz };

/// Unpacks `archive` into the empty folder `folder`, which nobody else writes to. Of a tar file the first
/// part of every path is dropped. Rules and errors: OpenArchive. After an error `folder` holds a part of the
/// files.
Status Unpack(const std::filesystem::path& archive, const std::filesystem::path& folder, PackedFormat format,
              const UnpackLimits& limits);

}  // namespace serve
