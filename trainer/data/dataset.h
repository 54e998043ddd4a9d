#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/status.h"

namespace serve::trainer {

struct LabelledText {
  std::int32_t label = 0;  // from 0
  std::string text;
};

struct BadRow {
  std::size_t line = 0;
  std::string reason;
};

/// What a CSV file of labelled texts held.
struct Dataset {
  std::string file;    // its name, without the folder
  std::string sha256;  // of its bytes
  std::vector<LabelledText> rows;
  std::string header;            // the first line, when it was taken for names of columns
  std::vector<BadRow> bad_rows;  // the first kShownBadRows
  std::size_t bad_row_count = 0;
};

inline constexpr std::size_t kShownBadRows = 10;

/// Reads `class,title,description` (the form of AG News) or `class,text`. The class is a number from 1 or one
/// of `labels`; the text is title, a blank, description. A first line whose class is neither is taken for a
/// header.
///
/// Errors: kNotFound, kInternal (the file). Rows that cannot be used are counted and left out: the caller
/// judges them. Memory: the file and the texts, about three times the size of the file at the peak.
Result<Dataset> ReadDataset(const std::filesystem::path& file, const std::vector<std::string>& labels);
/// The same of a file's content.
Dataset ParseDataset(std::string_view content, const std::vector<std::string>& labels);

/// Too many bad rows, no rows at all, or a class of `labels` with less than `least` rows. `max_bad_share` is
/// a share of all records, 0.01 for 1 %.
Status CheckDataset(const Dataset& dataset, const std::vector<std::string>& labels, double max_bad_share,
                    std::size_t least);

struct Split {
  std::vector<LabelledText> training;
  std::vector<LabelledText> validation;
};

/// Moves `share` of the rows of every class, chosen by `seed`, to validation: at least one of each, never
/// all. Both keep the order of the file. The same on every machine.
Split SplitRows(std::vector<LabelledText> rows, std::size_t classes, double share, std::uint64_t seed);

}  // namespace serve::trainer
