#include "handlers/text/subword_tokenizer.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "handlers/text/sentence_piece.h"
#include "handlers/text/word_piece.h"
#include "serve/base/files.h"

namespace serve {
namespace {

constexpr std::string_view kFairseqFile = "sentencepiece.bpe.model";
constexpr std::string_view kSentencePieceFiles[] = {"spiece.model", "tokenizer.model", kFairseqFile};
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;

Result<std::string> ReadAll(const std::filesystem::path& file) {
  Result<std::string> content = ReadFile(file, kMaxFileBytes);
  if (content) return content;
  return InvalidArgument(
      fmt::format("cannot read {}: {}", file.filename().string(), content.error().message));
}

}  // namespace

bool HasSubwordVocabulary(const std::filesystem::path& folder) {
  std::error_code error;
  return std::filesystem::exists(folder / kWordPieceFile, error) ||
         std::any_of(std::begin(kSentencePieceFiles), std::end(kSentencePieceFiles),
                     [&](std::string_view name) { return std::filesystem::exists(folder / name, error); });
}

Result<std::unique_ptr<SubwordTokenizer>> LoadSubwordTokenizer(const std::filesystem::path& folder,
                                                               bool lower_case) {
  std::error_code error;
  if (std::filesystem::exists(folder / kWordPieceFile, error)) {
    const Result<std::string> content = ReadAll(folder / kWordPieceFile);
    if (!content) return content.error();
    return MakeWordPiece(*content, lower_case);
  }
  for (const std::string_view name : kSentencePieceFiles) {
    if (!std::filesystem::exists(folder / name, error)) continue;
    const Result<std::string> content = ReadAll(folder / name);
    if (!content) return content.error();
    auto tokenizer = MakeSentencePiece(*content, name == kFairseqFile);
    if (!tokenizer) return InvalidArgument(fmt::format("{}: {}", name, tokenizer.error().message));
    return tokenizer;
  }
  return std::unique_ptr<SubwordTokenizer>();
}

}  // namespace serve
