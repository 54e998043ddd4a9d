#include "handlers/text/word_piece.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utf8proc.h>

#include <fmt/format.h>

namespace serve {
namespace {

constexpr std::size_t kMaxPieces = 10'000'000;
constexpr std::size_t kMaxWordCharacters = 100;
constexpr std::string_view kInside = "##";
constexpr std::string_view kBlanks = "\t\n\r ";

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using PieceTable = std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>>;

bool IsAsciiPunctuation(std::int32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

bool IsPunctuation(std::int32_t c) {
  if (c < 128) return IsAsciiPunctuation(c);
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool IsBlank(std::int32_t c) {
  if (c < 128) return c == ' ' || (c >= '\t' && c <= '\r');
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP;
}

/// Control and format characters, and those that are none.
bool IsDropped(std::int32_t c) {
  if (c < 128) return (c < 32 && kBlanks.find(static_cast<char>(c)) == std::string_view::npos) || c == 127;
  if (c == 0xfffd) return true;
  const utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CN || category >= UTF8PROC_CATEGORY_CC;
}

/// The blocks that BERT calls Chinese: ideographs, neither kana nor hangul.
bool IsIdeograph(std::int32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

struct Special {
  std::string_view text;
  std::int32_t id = -1;  // -1: the vocabulary has none
};

class WordPiece final : public SubwordTokenizer {
 public:
  WordPiece(PieceTable words, PieceTable inside, std::array<Special, 5> specials, std::int64_t size,
            bool lower_case)
      : words_(std::move(words)),
        inside_(std::move(inside)),
        specials_(specials),
        size_(size),
        lower_case_(lower_case),
        texts_(static_cast<std::size_t>(size)) {
    for (const PieceTable* table : {&words_, &inside_}) {
      for (const auto& [piece, id] : *table) {
        longest_ = std::max(longest_, piece.size());
        texts_[static_cast<std::size_t>(id)] = table == &words_ ? " " + piece : piece;
      }
    }
  }

  std::vector<std::int64_t> Encode(std::string_view text, std::size_t most) const override {
    std::vector<std::int64_t> ids = {specials_[kCls].id};
    Word word;
    std::size_t at = 0;
    while (at < text.size() && ids.size() < most) {
      if (text[at] == '[') {
        if (const Special* special = SpecialAt(text.substr(at))) {
          AppendWord(word, ids);
          ids.push_back(special->id);
          at += special->text.size();
          continue;
        }
      }
      AppendCharacter(Next(text, at), word, ids);
    }
    AppendWord(word, ids);
    if (most > 0 && ids.size() > most - 1) ids.resize(most - 1);
    ids.push_back(specials_[kSep].id);
    return ids;
  }

  std::int64_t padding() const override { return specials_[kPad].id; }
  std::int64_t end() const override { return specials_[kSep].id; }
  std::string Text(std::int64_t id) const override {
    if (id < 0 || id >= size_ || IsSpecial(id)) return {};
    return texts_[static_cast<std::size_t>(id)];
  }
  std::int64_t size() const override { return size_; }

  enum SpecialName : std::size_t { kUnk, kCls, kSep, kPad, kMask };

 private:
  /// The word that is being read, normalized.
  struct Word {
    std::string text;
    std::size_t characters = 0;
    bool too_long = false;
  };

  /// The character at `at`, which moves behind it; -1 for a byte that is no UTF-8.
  static std::int32_t Next(std::string_view text, std::size_t& at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 128) {
      ++at;
      return lead;
    }
    utf8proc_int32_t character = -1;
    const utf8proc_ssize_t bytes = utf8proc_iterate(
        reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
        static_cast<utf8proc_ssize_t>(std::min<std::size_t>(text.size() - at, 4)), &character);
    at += bytes > 0 ? static_cast<std::size_t>(bytes) : 1;
    return bytes > 0 ? character : -1;
  }

  bool IsSpecial(std::int64_t id) const {
    return std::any_of(specials_.begin(), specials_.end(),
                       [id](const Special& special) { return special.id == id; });
  }

  const Special* SpecialAt(std::string_view text) const {
    for (const Special& special : specials_) {
      if (special.id >= 0 && text.starts_with(special.text)) return &special;
    }
    return nullptr;
  }

  void AppendCharacter(std::int32_t c, Word& word, std::vector<std::int64_t>& ids) const {
    if (c < 0 || IsDropped(c)) return;
    if (IsBlank(c)) return AppendWord(word, ids);
    const bool alone = IsIdeograph(c);
    if (alone) AppendWord(word, ids);
    if (c < 128) {
      AppendNormalized(lower_case_ && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c, word, ids);
    } else if (!lower_case_) {
      AppendNormalized(c, word, ids);
    } else {
      std::array<utf8proc_int32_t, 16> parts{};  // the longest canonical decomposition has 4
      int last_class = 0;
      const utf8proc_ssize_t count =
          utf8proc_decompose_char(c, parts.data(), parts.size(), UTF8PROC_DECOMPOSE, &last_class);
      for (utf8proc_ssize_t i = 0; i < count && i < static_cast<utf8proc_ssize_t>(parts.size()); ++i) {
        if (utf8proc_category(parts[i]) == UTF8PROC_CATEGORY_MN) continue;
        AppendNormalized(utf8proc_tolower(parts[i]), word, ids);
      }
    }
    if (alone) AppendWord(word, ids);
  }

  void AppendNormalized(std::int32_t c, Word& word, std::vector<std::int64_t>& ids) const {
    const bool alone = IsPunctuation(c);
    if (alone) AppendWord(word, ids);
    if (word.characters < kMaxWordCharacters) {
      std::array<utf8proc_uint8_t, 4> bytes{};
      const utf8proc_ssize_t count = utf8proc_encode_char(c, bytes.data());
      word.text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(count));
      ++word.characters;
    } else {
      word.too_long = true;
    }
    if (alone) AppendWord(word, ids);
  }

  /// Ends the word.
  void AppendWord(Word& word, std::vector<std::int64_t>& ids) const {
    if (word.characters == 0) return;
    const std::size_t first = ids.size();
    if (word.too_long || !AppendPieces(word.text, ids)) {
      ids.resize(first);
      ids.push_back(specials_[kUnk].id);
    }
    word.text.clear();
    word.characters = 0;
    word.too_long = false;
  }

  bool AppendPieces(std::string_view rest, std::vector<std::int64_t>& ids) const {
    const PieceTable* table = &words_;
    while (!rest.empty()) {
      std::size_t length = std::min(rest.size(), longest_);
      auto found = table->find(rest.substr(0, length));
      // A prefix that ends inside of a character is in no vocabulary, so bytes will do.
      while (found == table->end() && length > 1) found = table->find(rest.substr(0, --length));
      if (found == table->end()) return false;
      ids.push_back(found->second);
      rest.remove_prefix(length);
      table = &inside_;
    }
    return true;
  }

  const PieceTable words_;
  const PieceTable inside_;  // without their ##
  const std::array<Special, 5> specials_;
  const std::int64_t size_;
  const bool lower_case_;
  std::vector<std::string> texts_;  // by id
  std::size_t longest_ = 1;         // bytes of a piece
};

}  // namespace

Result<std::unique_ptr<SubwordTokenizer>> MakeWordPiece(std::string_view content, bool lower_case) {
  PieceTable words;
  PieceTable inside;
  std::array<Special, 5> specials = {Special{"[UNK]"}, Special{"[CLS]"}, Special{"[SEP]"}, Special{"[PAD]"},
                                     Special{"[MASK]"}};
  std::int32_t id = 0;
  for (std::size_t at = 0; at < content.size(); ++id) {
    if (static_cast<std::size_t>(id) >= kMaxPieces) {
      return InvalidArgument(fmt::format("{}: more than {} pieces", kWordPieceFile, kMaxPieces));
    }
    const std::size_t end = std::min(content.find('\n', at), content.size());
    std::string_view line = content.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (Special& special : specials) {
      if (special.text == line) special.id = id;
    }
    if (line.starts_with(kInside) && line.size() > kInside.size()) {
      inside[std::string(line.substr(kInside.size()))] = id;
    } else {
      words[std::string(line)] = id;
    }
  }
  for (const WordPiece::SpecialName name :
       {WordPiece::kUnk, WordPiece::kCls, WordPiece::kSep, WordPiece::kPad}) {
    if (specials[name].id < 0) {
      return InvalidArgument(fmt::format("{}: the vocabulary has no {}, one piece a line is expected",
                                         kWordPieceFile, specials[name].text));
    }
  }
  return std::unique_ptr<SubwordTokenizer>(
      std::make_unique<WordPiece>(std::move(words), std::move(inside), specials, id, lower_case));
}

}  // namespace serve
