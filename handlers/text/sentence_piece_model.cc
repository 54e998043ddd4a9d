#include "handlers/text/sentence_piece_model.h"

#include <bit>
#include <cstring>
#include <optional>

#include <fmt/format.h>

namespace serve {
namespace {

/// One field of a protocol buffer message.
struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  // of a varint or a fixed32
  std::string_view bytes;   // of what has a length
};

/// Walks over the fields of a message.
class MessageReader {
 public:
  explicit MessageReader(std::string_view message) : rest_(message) {}

  /// nullopt: the end, or something broken (see ok()).
  std::optional<Field> Next() {
    if (rest_.empty()) return std::nullopt;
    Field field;
    const std::uint64_t key = Varint();
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.value = Varint();
        break;
      case 1:
        Take(8);
        break;
      case 2: {
        const std::uint64_t length = Varint();
        field.bytes = Take(length);
        break;
      }
      case 5: {
        const std::string_view four = Take(4);
        for (std::size_t i = 0; i < four.size(); ++i) {
          field.value |= std::uint64_t{static_cast<unsigned char>(four[i])} << (8 * i);
        }
        break;
      }
      default:
        ok_ = false;
    }
    if (!ok_) return std::nullopt;
    return field;
  }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::uint64_t Varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view Take(std::uint64_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  bool ok_ = true;
};

Status Broken(std::string_view what) {
  return InvalidArgument(fmt::format("the SentencePiece model is damaged: {}", what));
}

bool ReadPiece(std::string_view message, SentencePieceModel::Piece& piece) {
  MessageReader reader(message);
  while (const std::optional<Field> field = reader.Next()) {
    if (field->number == 1) piece.text = field->bytes;
    if (field->number == 2) piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field->value));
    if (field->number == 3 && field->value >= 1 && field->value <= 6) {
      piece.kind = static_cast<SentencePieceModel::Kind>(field->value);
    }
  }
  return reader.ok();
}

Status ReadTraining(std::string_view message, SentencePieceModel& model) {
  MessageReader reader(message);
  std::uint64_t kind = 1;
  while (const std::optional<Field> field = reader.Next()) {
    if (field->number == 3) kind = field->value;
    if (field->number == 35) model.byte_fallback = field->value != 0;
    if (field->number == 43) model.pad_id = static_cast<std::int32_t>(field->value);
  }
  if (!reader.ok()) return Broken("trainer_spec");
  if (kind != 1 && kind != 2) {
    return InvalidArgument(
        "the SentencePiece model is of the kind word or char; unigram and bpe can be read");
  }
  model.bpe = kind == 2;
  return {};
}

bool ReadNormalizer(std::string_view message, SentencePieceModel& model) {
  MessageReader reader(message);
  while (const std::optional<Field> field = reader.Next()) {
    if (field->number == 2) model.characters = field->bytes;
    if (field->number == 3) model.dummy_prefix = field->value != 0;
    if (field->number == 4) model.remove_extra_blanks = field->value != 0;
    if (field->number == 5) model.escape_blanks = field->value != 0;
  }
  return reader.ok();
}

}  // namespace

Result<SentencePieceModel> ParseSentencePieceModel(std::string_view content) {
  SentencePieceModel model;
  MessageReader reader(content);
  while (const std::optional<Field> field = reader.Next()) {
    if (field->number == 1) {
      if (!ReadPiece(field->bytes, model.pieces.emplace_back())) return Broken("a piece");
    } else if (field->number == 2) {
      if (Status status = ReadTraining(field->bytes, model); !status.ok()) return status;
    } else if (field->number == 3) {
      if (!ReadNormalizer(field->bytes, model)) return Broken("normalizer_spec");
    }
  }
  if (!reader.ok() || model.pieces.empty()) return Broken("it holds no pieces, or ends early");
  return model;
}

Result<CharacterTable> CharacterTable::Make(std::string_view compiled) {
  CharacterTable table;
  if (compiled.empty()) return table;
  std::uint32_t bytes = 0;
  if (compiled.size() >= 4) std::memcpy(&bytes, compiled.data(), 4);
  if (bytes < 4 || bytes % 4 != 0 || bytes > compiled.size() - 4) return Broken("the table of characters");
  table.trie_.resize(bytes / 4);
  std::memcpy(table.trie_.data(), compiled.data() + 4, bytes);
  table.texts_ = compiled.substr(4 + bytes);
  return table;
}

std::size_t CharacterTable::Match(std::string_view text, std::string_view& replacement) const {
  // A unit: the low 8 bits and bit 31 are the label, bits 10 and up the offset (times 256 when bit 9 is set),
  // bit 8 says that a value stands at the offset.
  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); };
  if (trie_.empty()) return 0;
  std::size_t longest = 0;
  std::size_t at = offset(trie_[0]);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::uint32_t byte = static_cast<unsigned char>(text[i]);
    at ^= byte;
    if (at >= trie_.size()) break;
    const std::uint32_t unit = trie_[at];
    if ((unit & (1U << 31 | 0xffU)) != byte) break;
    at ^= offset(unit);
    if (at >= trie_.size()) break;
    if ((unit & (1U << 8)) == 0) continue;
    const std::size_t start = trie_[at] & 0x7fffffffU;
    if (start >= texts_.size()) break;
    replacement = std::string_view(texts_).substr(start, texts_.find('\0', start) - start);
    longest = i + 1;
  }
  return longest;
}

}  // namespace serve
