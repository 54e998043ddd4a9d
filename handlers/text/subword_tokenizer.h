#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// Cuts text into pieces of a vocabulary and gives their ids, between the ids that the model wants at the
/// ends.
///
/// Threads: const and free of locks; any.
class SubwordTokenizer {
 public:
  virtual ~SubwordTokenizer() = default;

  /// At most `most` ids, the two ends among them; what goes beyond is cut off and never looked at. `text`
  /// need not be UTF-8: what is none is left out.
  [[nodiscard]] virtual std::vector<std::int64_t> Encode(std::string_view text, std::size_t most) const = 0;
  [[nodiscard]] virtual std::int64_t padding() const = 0;
  /// What Encode puts behind the text; -1: nothing.
  [[nodiscard]] virtual std::int64_t end() const = 0;
  /// The text that the piece adds behind others, with the blank before it where it begins a word; a piece may
  /// be a single byte. Nothing for an end, padding, and an id that is none.
  [[nodiscard]] virtual std::string Text(std::int64_t id) const = 0;
  /// Ids are below it.
  [[nodiscard]] virtual std::int64_t size() const = 0;
};

/// The tokenizer whose vocabulary lies in `folder`: vocab.txt (WordPiece), or spiece.model, tokenizer.model,
/// sentencepiece.bpe.model (SentencePiece). nullptr: there is none. `lower_case`: of WordPiece only.
/// Errors: kInvalidArgument, naming the file and what is wrong with it.
Result<std::unique_ptr<SubwordTokenizer>> LoadSubwordTokenizer(const std::filesystem::path& folder,
                                                               bool lower_case);

/// Whether there is a file that LoadSubwordTokenizer would read.
bool HasSubwordVocabulary(const std::filesystem::path& folder);

}  // namespace serve
