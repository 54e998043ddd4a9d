#include "handlers/text/subword_tokenizer.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "handlers/text/sentence_piece.h"
#include "handlers/text/word_piece.h"

namespace serve {
namespace {

constexpr std::string_view kFairseqFile = "sentencepiece.bpe.model";
constexpr std::string_view kSentencePieceFiles[] = {"spiece.model", "tokenizer.model", kFairseqFile};
constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{256} << 20;

Result<std::string> ReadAll(const std::filesystem::path& file) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) {
    return InvalidArgument(fmt::format("cannot read {}: {}", file.filename().string(), error.message()));
  }
  if (size > kMaxFileBytes) {
    return InvalidArgument(
        fmt::format("{} has {} bytes, allowed are {}", file.filename().string(), size, kMaxFileBytes));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream.good() && !stream.eof()) {
    return InvalidArgument(fmt::format("cannot read {}", file.filename().string()));
  }
  return content;
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
