#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "serve/base/status.h"

namespace serve {

/// The name of the file in an archive.
inline constexpr std::string_view kVocabularyFile = "vocabulary.tsv";
inline constexpr std::size_t kMaxTermBytes = 4096;
inline constexpr std::uintmax_t kMaxVocabularyFileBytes = std::uintmax_t{1} << 30;

struct Term {
  std::string text;  // IsToken
  double idf = 0;    // > 0
};

/// The terms that a text model knows, with their inverse document frequencies. The id of a term is its rank
/// in bytewise order and its row in the model's table.
///
/// File: text, one line each, fields separated by a tab:
///   flambeau-vocabulary <tab> 1 <tab> number of documents it was counted on
///   term <tab> idf                                     sorted, every term once, idf as digits that read back
///   the same
/// Errors:  kNotFound, kInvalidArgument with `path:line: ` and what was expected.
/// Threads: const after construction; any.
class Vocabulary {
 public:
  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;
  Vocabulary(const Vocabulary&) = delete;  // the keys of a copy would point into the original
  Vocabulary& operator=(const Vocabulary&) = delete;

  static Result<Vocabulary> Load(const std::filesystem::path& file);
  /// Of a file's content; `name` begins the errors.
  static Result<Vocabulary> Parse(std::string_view content, std::string_view name);
  /// `terms` sorted, unique and valid, as Parse demands it; `documents` at least 1.
  static Result<Vocabulary> Make(std::vector<Term> terms, std::int64_t documents);

  /// What Parse reads.
  [[nodiscard]] std::string FileText() const;

  [[nodiscard]] std::optional<std::int32_t> IdOf(std::string_view term) const {
    const auto found = ids_.find(term);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  [[nodiscard]] double Idf(std::int32_t id) const { return terms_[static_cast<std::size_t>(id)].idf; }
  [[nodiscard]] const std::vector<Term>& terms() const { return terms_; }
  [[nodiscard]] std::int64_t documents() const { return documents_; }

 private:
  Vocabulary(std::vector<Term> terms, std::int64_t documents);

  std::vector<Term> terms_;
  std::unordered_map<std::string_view, std::int32_t>
      ids_;  // keys point into terms_, whose memory moves with it
  std::int64_t documents_;
};

}  // namespace serve
