#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
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
  std::string file;                   // its name, without the folder
  std::string sha256;                 // of its bytes
  std::vector<std::int32_t> classes;  // of the usable rows, in the order of the file
  std::vector<LabelledText> rows;     // the same rows; empty after ScanDataset
  std::string header;                 // the first line, when it was taken for names of columns
  std::vector<BadRow> bad_rows;       // the first kShownBadRows
  std::size_t bad_row_count = 0;
};

inline constexpr std::size_t kShownBadRows = 10;

using RowVisitor = std::function<void(const LabelledText&)>;

/// Reads `class,title,description` (the form of AG News) or `class,text`. The class is a number from 1 or one
/// of `labels`; the text is title, a blank, description. A first line whose class is neither is taken for a
/// header.
///
/// Every usable row goes to `visit`, in the order of the file; rows that cannot be used are counted and left
/// out: the caller judges them. A second scan of the same content gives the same rows. Memory: one row, and
/// four bytes for each (`classes`).
Dataset ScanDataset(std::string_view content, const std::vector<std::string>& labels,
                    const RowVisitor& visit);
/// The rows alone: for a scan that is not the first.
void VisitRows(std::string_view content, const std::vector<std::string>& labels, const RowVisitor& visit);

/// The same with the rows in memory. Errors: those of MappedFile.
Result<Dataset> ReadDataset(const std::filesystem::path& file, const std::vector<std::string>& labels);
Dataset ParseDataset(std::string_view content, const std::vector<std::string>& labels);

/// Too many bad rows, no rows at all, or a class of `labels` with less than `least` rows. `max_bad_share` is
/// a share of all records, 0.01 for 1 %.
Status CheckDataset(const Dataset& dataset, const std::vector<std::string>& labels, double max_bad_share,
                    std::size_t least);

struct Split {
  std::vector<LabelledText> training;
  std::vector<LabelledText> validation;
};

/// Which rows are held out to validate with: `share` of those of every class, chosen by `seed`; at least one
/// of each, never all. The same on every machine.
std::vector<bool> HoldOut(const std::vector<std::int32_t>& row_classes, std::size_t classes, double share,
                          std::uint64_t seed);

/// Moves the rows of HoldOut to validation. Both keep the order of the file.
Split SplitRows(std::vector<LabelledText> rows, std::size_t classes, double share, std::uint64_t seed);

}  // namespace serve::trainer
