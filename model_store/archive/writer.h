#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"

namespace serve {

/// Writes the entries of one archive: Begin, Write …, for each file in turn; Finish once. Paths have passed
/// CheckEntryPath. Errors name the output. Not thread-safe.
class ArchiveWriter {
 public:
  virtual ~ArchiveWriter() = default;
  /// `size`: what Write will bring in all. `sample`: bytes from all over the file (or all of it), which tell
  /// whether it can be compressed.
  virtual Status Begin(const std::string& path, std::uint64_t size, std::string_view sample) = 0;
  virtual Status Write(std::string_view bytes) = 0;
  /// Everything is on the disk afterwards.
  virtual Status Finish() = 0;
};

/// For writers. A descriptor of a new file, negative with errno when there is something already.
int OpenNewFile(const std::filesystem::path& path);
/// kInternal: `cannot write OUTPUT: REASON`.
Status CannotWrite(const std::filesystem::path& output, std::string_view reason);

/// Opens a writer of `output`, which must not exist. `top` is the top folder of a .tar.gz.
Result<std::unique_ptr<ArchiveWriter>> OpenWriter(const std::filesystem::path& output, ArchiveFormat format,
                                                  const std::string& top);

}  // namespace serve
