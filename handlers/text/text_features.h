#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "handlers/text/vocabulary.h"

namespace serve {

/// Texts as bags of weighted term ids, one behind the other: text i is [offsets[i], offsets[i + 1]), the last
/// one ends with the ids. The form that torch.embedding_bag takes.
struct TextBags {
  std::vector<std::int64_t> ids;      // within a text ascending, every term once
  std::vector<std::int64_t> offsets;  // [texts]
  std::vector<float> weights;         // [ids]; of unit length (2-norm) within a text

  [[nodiscard]] std::size_t texts() const { return offsets.size(); }
  [[nodiscard]] std::size_t Begin(std::size_t text) const { return static_cast<std::size_t>(offsets[text]); }
  [[nodiscard]] std::size_t End(std::size_t text) const {
    return text + 1 < offsets.size() ? static_cast<std::size_t>(offsets[text + 1]) : ids.size();
  }
};

/// Adds `text` to `bags`. A term that comes n times weighs (1 + ln n) · idf, then the text is brought to unit
/// length. Words that the vocabulary does not know are left out; a text of unknown words is an empty bag.
///
/// Trainer and server both come through here: what a model learned from is what it is asked with.
void AppendText(std::string_view text, const Vocabulary& vocabulary, TextBags& bags);

}  // namespace serve
