#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "trainer/data/features.h"
#include "trainer/data/mapped_file.h"

namespace serve::trainer {

/// Encoded rows that are gone through from front to back, again and again: in memory up to a limit, what goes
/// beyond it in a file without a name below TMPDIR. Which of the two makes no difference to what a visit
/// sees.
///
/// Threads: one.
class BagChunks {
 public:
  /// `memory` in bytes: what the rows may take, about 12 bytes for each different term of a row.
  explicit BagChunks(std::size_t memory) : memory_(memory) {}
  /// One chunk that is there already.
  BagChunks(LabelledBags bags);  // NOLINT(google-explicit-constructor): rows in memory are the simple case
  BagChunks(const BagChunks&) = delete;
  BagChunks& operator=(const BagChunks&) = delete;
  ~BagChunks();

  /// A row behind the others. Errors: kInternal: the file cannot be written.
  Status Append(std::string_view text, std::int64_t label, const Vocabulary& vocabulary);
  /// No more rows come. Errors: as Append.
  Status Finish();

  /// Shows every chunk, in order; it is valid during the call only.
  void ForEach(const std::function<void(const LabelledBags&)>& visit) const;

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t in_file() const { return file_bytes_; }  // bytes

 private:
  struct FilePart {
    std::size_t offset;
    std::size_t ids;
    std::size_t texts;
  };
  Status CloseChunk();
  Status Spill(const LabelledBags& chunk);

  std::size_t memory_;
  std::size_t used_ = 0;
  std::size_t rows_ = 0;
  LabelledBags open_;
  std::vector<LabelledBags> chunks_;
  int descriptor_ = -1;  // closed by Finish, which maps the file
  std::size_t file_bytes_ = 0;
  std::vector<FilePart> parts_;
  MappedFile file_;
};

}  // namespace serve::trainer
