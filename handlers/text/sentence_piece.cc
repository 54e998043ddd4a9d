#include "handlers/text/sentence_piece.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "handlers/text/sentence_piece_model.h"

namespace serve {
namespace {

using Kind = SentencePieceModel::Kind;

constexpr std::string_view kBlank = "\u2581";
constexpr std::string_view kReplacement = "\xef\xbf\xbd";
/// An unknown character is this much less likely than the least likely piece.
constexpr float kUnknownPenalty = 10.0F;

std::size_t CharacterBytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return std::min(bytes, text.size());
}

/// Whether `text` begins with a whole character of UTF-8.
bool IsCharacter(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return true;
  const std::size_t bytes = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (bytes == 0 || bytes > text.size()) return false;
  return std::all_of(text.begin() + 1, text.begin() + static_cast<std::ptrdiff_t>(bytes),
                     [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; });
}

/// The pieces that text can be cut into, sorted, so that those with a common beginning stand together.
class PieceIndex {
 public:
  explicit PieceIndex(const SentencePieceModel& model) {
    for (std::size_t id = 0; id < model.pieces.size(); ++id) {
      const SentencePieceModel::Piece& piece = model.pieces[id];
      if (piece.kind != Kind::kNormal && piece.kind != Kind::kUserDefined) continue;
      if (piece.text.empty()) continue;
      sorted_.emplace_back(piece.text, static_cast<std::int32_t>(id));
      longest_ = std::max(longest_, piece.text.size());
    }
    std::sort(sorted_.begin(), sorted_.end());
  }

  /// Calls `found(bytes, id)` for each piece that `text` begins with, the shortest first.
  template <class Found>
  void Prefixes(std::string_view text, Found found) const {
    auto first = sorted_.begin();
    auto last = sorted_.end();
    for (std::size_t depth = 0; depth < text.size() && first != last; ++depth) {
      const auto byte = static_cast<unsigned char>(text[depth]);
      const auto at = [depth](const auto& piece) {
        return piece.first.size() > depth ? static_cast<int>(static_cast<unsigned char>(piece.first[depth]))
                                          : -1;
      };
      first = std::partition_point(first, last, [&](const auto& piece) { return at(piece) < byte; });
      last = std::partition_point(first, last, [&](const auto& piece) { return at(piece) == byte; });
      if (first != last && first->first.size() == depth + 1) found(depth + 1, first->second);
    }
  }

  /// -1: there is none.
  [[nodiscard]] std::int32_t Find(std::string_view text) const {
    const auto at =
        std::lower_bound(sorted_.begin(), sorted_.end(), text,
                         [](const auto& piece, std::string_view wanted) { return piece.first < wanted; });
    return at != sorted_.end() && at->first == text ? at->second : -1;
  }
  [[nodiscard]] std::size_t longest() const { return longest_; }

 private:
  std::vector<std::pair<std::string, std::int32_t>> sorted_;
  std::size_t longest_ = 1;
};

class SentencePiece final : public SubwordTokenizer {
 public:
  SentencePiece(SentencePieceModel model, CharacterTable table, std::int32_t unknown, bool fairseq)
      : model_(std::move(model)),
        table_(std::move(table)),
        index_(model_),
        unknown_(unknown),
        fairseq_(fairseq) {
    lowest_ = std::numeric_limits<float>::max();
    highest_ = std::numeric_limits<float>::lowest();
    bytes_.fill(-1);
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
      const SentencePieceModel::Piece& piece = model_.pieces[id];
      if (piece.kind == Kind::kNormal) {
        lowest_ = std::min(lowest_, piece.score);
        highest_ = std::max(highest_, piece.score);
      }
      if (piece.kind == Kind::kUserDefined) user_defined_ = true;
      // "<0x0A>"
      if (piece.kind == Kind::kByte && piece.text.size() == 6) {
        const unsigned long byte = std::strtoul(piece.text.c_str() + 3, nullptr, 16);
        if (byte < bytes_.size()) bytes_[byte] = static_cast<std::int32_t>(id);
      }
    }
    begin_ = IdOf("[CLS]");
    end_ = IdOf("[SEP]");
    if (begin_ < 0 || end_ < 0) {
      begin_ = -1;
      end_ = IdOf("</s>");
    }
    padding_ = model_.pad_id >= 0 ? model_.pad_id : std::max(IdOf("<pad>"), std::int32_t{0});
  }

  std::vector<std::int64_t> Encode(std::string_view text, std::size_t most) const override {
    // What lies beyond cannot become one of the first ids, but its cutting would take time.
    const std::size_t enough = 2 * most * index_.longest() + 64;
    const std::string normalized = Normalize(text.substr(0, enough));
    std::vector<std::int32_t> pieces = model_.bpe ? CutByMerging(normalized) : CutByScore(normalized);
    std::vector<std::int64_t> ids;
    const std::int64_t begin = fairseq_ ? 0 : begin_;
    const std::int64_t end = fairseq_ ? 2 : end_;
    if (begin >= 0) ids.push_back(begin);
    const std::size_t room = most - std::min<std::size_t>(most, end >= 0 ? 1 : 0);
    for (const std::int32_t piece : pieces) {
      if (ids.size() >= room) break;
      ids.push_back(Id(piece));
    }
    if (end >= 0) ids.push_back(end);
    return ids;
  }

  std::int64_t padding() const override { return fairseq_ ? 1 : padding_; }
  std::int64_t end() const override { return fairseq_ ? 2 : end_; }

  std::string Text(std::int64_t id) const override {
    // fairseq's first four are <s>, <pad>, </s>, <unk>; behind them it is one further than the file.
    if (fairseq_) id = id < 4 ? -1 : id - 1;
    if (id < 0 || id >= static_cast<std::int64_t>(model_.pieces.size())) return {};
    const SentencePieceModel::Piece& piece = model_.pieces[static_cast<std::size_t>(id)];
    if (piece.kind == Kind::kByte && piece.text.size() == 6) {
      return {static_cast<char>(std::strtoul(piece.text.c_str() + 3, nullptr, 16))};
    }
    if (piece.kind != Kind::kNormal && piece.kind != Kind::kUserDefined) return {};
    std::string text = piece.text;
    for (std::size_t at = text.find(kBlank); at != std::string::npos; at = text.find(kBlank, at)) {
      text.replace(at, kBlank.size(), " ");
    }
    return text;
  }

  std::int64_t size() const override {
    return static_cast<std::int64_t>(model_.pieces.size()) + (fairseq_ ? 1 : 0);
  }

 private:
  [[nodiscard]] std::int32_t IdOf(std::string_view text) const {
    const auto found = std::find_if(model_.pieces.begin(), model_.pieces.end(),
                                    [text](const auto& piece) { return piece.text == text; });
    return found == model_.pieces.end() ? -1 : static_cast<std::int32_t>(found - model_.pieces.begin());
  }

  /// fairseq puts <s>, <pad>, </s>, <unk> first; the file has <unk>, <s>, </s>.
  [[nodiscard]] std::int64_t Id(std::int32_t piece) const {
    if (!fairseq_) return piece;
    return piece == unknown_ ? 3 : piece + 1;
  }

  /// The longest user-defined piece that `text` begins with, in bytes; 0: none.
  [[nodiscard]] std::size_t UserDefined(std::string_view text) const {
    std::size_t longest = 0;
    if (!user_defined_) return longest;
    index_.Prefixes(text, [&](std::size_t bytes, std::int32_t id) {
      if (model_.pieces[static_cast<std::size_t>(id)].kind == Kind::kUserDefined) longest = bytes;
    });
    return longest;
  }

  /// The next part of the normalized text; removes what it was made of from `rest`.
  [[nodiscard]] std::string_view NextPart(std::string_view& rest) const {
    std::string_view part;
    std::size_t bytes = UserDefined(rest);
    if (bytes > 0) {
      part = rest.substr(0, bytes);
    } else if (bytes = table_.Match(rest, part); bytes > 0) {
      // `part` was set.
    } else if (!IsCharacter(rest)) {
      bytes = 1;
      part = kReplacement;
    } else {
      bytes = CharacterBytes(rest);
      part = rest.substr(0, bytes);
    }
    rest.remove_prefix(bytes);
    return part;
  }

  [[nodiscard]] std::string Normalize(std::string_view rest) const {
    const std::string_view blank = model_.escape_blanks ? kBlank : std::string_view(" ");
    std::string normalized;
    bool after_blank = model_.remove_extra_blanks;  // blanks at the beginning go
    bool begun = false;
    while (!rest.empty()) {
      std::string_view part = NextPart(rest);
      while (after_blank && part.starts_with(' ')) part.remove_prefix(1);
      if (part.empty()) continue;
      if (!begun && model_.dummy_prefix) normalized += blank;
      begun = true;
      after_blank = model_.remove_extra_blanks && part.ends_with(' ');
      for (const char c : part) {
        if (c == ' ') {
          normalized += blank;
        } else {
          normalized += c;
        }
      }
    }
    while (model_.remove_extra_blanks && normalized.ends_with(blank)) {
      normalized.resize(normalized.size() - blank.size());
    }
    return normalized;
  }

  /// Adds a piece; what is unknown becomes bytes, or joins an unknown one before it.
  void Add(std::int32_t id, std::string_view text, bool& unknown_before,
           std::vector<std::int32_t>& ids) const {
    const bool unknown = id == unknown_;
    if (unknown && model_.byte_fallback) {
      for (const char c : text) {
        const std::int32_t byte = bytes_[static_cast<unsigned char>(c)];
        ids.push_back(byte >= 0 ? byte : unknown_);
      }
    } else if (!unknown || !unknown_before) {
      ids.push_back(id);
    }
    unknown_before = unknown;
  }

  /// Unigram: the cut with the highest sum of scores.
  [[nodiscard]] std::vector<std::int32_t> CutByScore(std::string_view text) const {
    struct Node {
      std::int32_t id = -1;
      std::size_t start = 0;
      float score = 0;
      bool reached = false;
    };
    const float unknown_score = lowest_ - kUnknownPenalty;
    std::vector<Node> ends(text.size() + 1);  // the best cut of what lies before
    ends[0].reached = true;
    for (std::size_t start = 0; start < text.size();) {
      const std::string_view rest = text.substr(start);
      const std::size_t one = CharacterBytes(rest);
      const float before = ends[start].score;
      const auto offer = [&](std::size_t bytes, std::int32_t id, float score) {
        Node& end = ends[start + bytes];
        if (end.reached && score <= end.score) return;
        end = {id, start, score, true};
      };
      bool covered = false;
      index_.Prefixes(rest, [&](std::size_t bytes, std::int32_t id) {
        const SentencePieceModel::Piece& piece = model_.pieces[static_cast<std::size_t>(id)];
        const float score =
            piece.kind == Kind::kUserDefined ? static_cast<float>(bytes) * highest_ - 0.1F : piece.score;
        offer(bytes, id, before + score);
        covered = covered || bytes == one;
      });
      if (!covered) offer(one, unknown_, before + unknown_score);
      start += one;
    }
    std::vector<std::pair<std::size_t, std::size_t>> cut;
    for (std::size_t end = text.size(); end > 0; end = ends[end].start)
      cut.emplace_back(ends[end].start, end);
    std::vector<std::int32_t> ids;
    bool unknown_before = false;
    for (auto part = cut.rbegin(); part != cut.rend(); ++part) {
      Add(ends[part->second].id, text.substr(part->first, part->second - part->first), unknown_before, ids);
    }
    return ids;
  }

  /// BPE: of all neighbours that make a piece together, the pair of the highest score is joined, the leftmost
  /// of equals.
  [[nodiscard]] std::vector<std::int32_t> CutByMerging(std::string_view text) const {
    struct Symbol {
      std::string_view text;
      std::ptrdiff_t previous;
      std::ptrdiff_t next;
      bool whole;  // a user-defined piece is never joined
    };
    struct Pair {
      float score;
      std::ptrdiff_t left;
      std::ptrdiff_t right;
      std::size_t bytes;
      bool operator<(const Pair& other) const {
        return score < other.score || (score == other.score && left > other.left);
      }
    };
    std::vector<Symbol> symbols;
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t defined = UserDefined(rest);
      const std::size_t bytes = defined > 0 ? defined : CharacterBytes(rest);
      const auto at = static_cast<std::ptrdiff_t>(symbols.size());
      symbols.push_back({rest.substr(0, bytes), at - 1, at + 1, defined > 0});
      rest.remove_prefix(bytes);
    }
    if (symbols.empty()) return {};
    symbols.back().next = -1;
    std::priority_queue<Pair> pairs;
    const auto offer = [&](std::ptrdiff_t left, std::ptrdiff_t right) {
      if (left < 0 || right < 0) return;
      const Symbol& a = symbols[static_cast<std::size_t>(left)];
      const Symbol& b = symbols[static_cast<std::size_t>(right)];
      if (a.whole || b.whole) return;
      const std::string_view joined(a.text.data(), a.text.size() + b.text.size());
      const std::int32_t id = index_.Find(joined);
      if (id >= 0)
        pairs.push({model_.pieces[static_cast<std::size_t>(id)].score, left, right, joined.size()});
    };
    for (std::size_t i = 1; i < symbols.size(); ++i) {
      offer(static_cast<std::ptrdiff_t>(i) - 1, static_cast<std::ptrdiff_t>(i));
    }
    while (!pairs.empty()) {
      const Pair best = pairs.top();
      pairs.pop();
      Symbol& left = symbols[static_cast<std::size_t>(best.left)];
      Symbol& right = symbols[static_cast<std::size_t>(best.right)];
      // One of them was joined to another meanwhile.
      if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != best.bytes)
        continue;
      left.text = {left.text.data(), best.bytes};
      left.next = right.next;
      if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].previous = best.left;
      right.text = {};
      offer(left.previous, best.left);
      offer(best.left, left.next);
    }
    std::vector<std::int32_t> ids;
    bool unknown_before = false;
    for (std::ptrdiff_t at = 0; at >= 0; at = symbols[static_cast<std::size_t>(at)].next) {
      const std::string_view piece = symbols[static_cast<std::size_t>(at)].text;
      const std::int32_t id = index_.Find(piece);
      Add(id >= 0 ? id : unknown_, piece, unknown_before, ids);
    }
    return ids;
  }

  const SentencePieceModel model_;
  const CharacterTable table_;
  const PieceIndex index_;
  const std::int32_t unknown_;
  const bool fairseq_;
  std::array<std::int32_t, 256> bytes_{};  // the piece of each byte; -1: none
  bool user_defined_ = false;
  float lowest_ = 0;
  float highest_ = 0;
  std::int32_t begin_ = -1;
  std::int32_t end_ = -1;
  std::int32_t padding_ = 0;
};

}  // namespace

Result<std::unique_ptr<SubwordTokenizer>> MakeSentencePiece(std::string_view content, bool fairseq) {
  Result<SentencePieceModel> model = ParseSentencePieceModel(content);
  if (!model) return model.error();
  Result<CharacterTable> table = CharacterTable::Make(model->characters);
  if (!table) return table.error();
  const auto unknown = std::find_if(model->pieces.begin(), model->pieces.end(),
                                    [](const auto& piece) { return piece.kind == Kind::kUnknown; });
  if (unknown == model->pieces.end()) {
    return InvalidArgument("the SentencePiece model has no piece for what is unknown");
  }
  const auto id = static_cast<std::int32_t>(unknown - model->pieces.begin());
  return std::unique_ptr<SubwordTokenizer>(
      std::make_unique<SentencePiece>(std::move(*model), std::move(*table), id, fairseq));
}

}  // namespace serve
