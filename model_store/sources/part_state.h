#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace serve {

/// Which parts of a file are there already; lies beside it, so that a later process can go on.
struct PartState {
  std::string validator;         // ETag or Last-Modified of the file
  std::uint64_t total = 0;       // bytes; 0: nothing is known yet
  std::uint64_t part_bytes = 0;  // of each part but the last
  std::string done;              // one character a part: '1' when it is there

  [[nodiscard]] std::uint64_t Begin(std::size_t part) const { return part * part_bytes; }
  [[nodiscard]] std::uint64_t End(std::size_t part) const;
  /// The first part that is missing; done.size() when none is.
  [[nodiscard]] std::size_t FirstMissing() const;
  /// How many bytes the parts that are there have.
  [[nodiscard]] std::uint64_t Received() const;
};

/// An empty one when there is no file, or one that does not fit together.
PartState ReadPartState(const std::filesystem::path& file);
/// A failure is no error: then a later process begins anew.
void WritePartState(const std::filesystem::path& file, const PartState& state);

}  // namespace serve
