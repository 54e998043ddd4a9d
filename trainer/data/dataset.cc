#include "trainer/data/dataset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <random>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "handlers/text/tokenizer.h"
#include "model_store/archive/sha256.h"
#include "trainer/data/csv_reader.h"
#include "trainer/data/mapped_file.h"

namespace serve::trainer {
namespace {

constexpr std::size_t kShownBytes = 60;  // of a field, in a message

std::string Shown(std::string_view text) {
  std::string shown(text.substr(0, kShownBytes));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      '?');
  return text.size() > kShownBytes ? shown + "..." : shown;
}

std::optional<std::int32_t> ClassOf(std::string_view field, const std::vector<std::string>& labels) {
  const std::size_t first = field.find_first_not_of(" \t");
  if (first == std::string_view::npos) return std::nullopt;
  field = field.substr(first, field.find_last_not_of(" \t") - first + 1);
  const auto named = std::find(labels.begin(), labels.end(), field);
  if (named != labels.end()) return static_cast<std::int32_t>(named - labels.begin());
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  if (error != std::errc() || end != field.data() + field.size() || number < 1 || number > labels.size()) {
    return std::nullopt;
  }
  return static_cast<std::int32_t>(number - 1);
}

/// Why `record` is no row; empty: it is one, and stands in `row`.
std::string ReadRow(const CsvRecord& record, const std::vector<std::string>& labels, LabelledText& row) {
  if (!record.problem.empty()) return record.problem;
  if (record.fields.size() != 2 && record.fields.size() != 3) {
    return fmt::format("expected class,title,description or class,text, found {} {}", record.fields.size(),
                       record.fields.size() == 1 ? "field" : "fields");
  }
  const std::optional<std::int32_t> label = ClassOf(record.fields[0], labels);
  if (!label) {
    return fmt::format("the class \"{}\" is neither a number from 1 to {} nor one of {}",
                       Shown(record.fields[0]), labels.size(), fmt::join(labels, ", "));
  }
  row.label = *label;
  row.text = record.fields[1];
  if (record.fields.size() == 3) row.text += " " + record.fields[2];
  std::string lowered;
  if (Tokenize(row.text, lowered).empty()) return "the text holds no word (of the letters a-z and digits)";
  return {};
}

bool IsHeader(const CsvRecord& record, const std::vector<std::string>& labels) {
  return record.problem.empty() && (record.fields.size() == 2 || record.fields.size() == 3) &&
         !ClassOf(record.fields[0], labels);
}

/// `dataset` takes header and bad rows; nullptr: nobody wants them.
void Scan(std::string_view content, const std::vector<std::string>& labels, Dataset* dataset,
          const RowVisitor& visit) {
  CsvReader reader(content);
  CsvRecord record;
  LabelledText row;
  for (bool first = true; reader.Next(record); first = false) {
    if (first && IsHeader(record, labels)) {
      if (dataset != nullptr) dataset->header = Shown(fmt::format("{}", fmt::join(record.fields, ",")));
      continue;
    }
    std::string reason = ReadRow(record, labels, row);
    if (reason.empty()) {
      visit(row);
    } else if (dataset != nullptr && ++dataset->bad_row_count <= kShownBadRows) {
      dataset->bad_rows.push_back({record.line, std::move(reason)});
    }
  }
}

}  // namespace

Dataset ScanDataset(std::string_view content, const std::vector<std::string>& labels,
                    const RowVisitor& visit) {
  Dataset dataset;
  dataset.sha256 = Sha256OfBytes(content);
  Scan(content, labels, &dataset, [&](const LabelledText& row) {
    dataset.classes.push_back(row.label);
    visit(row);
  });
  return dataset;
}

void VisitRows(std::string_view content, const std::vector<std::string>& labels, const RowVisitor& visit) {
  Scan(content, labels, nullptr, visit);
}

Dataset ParseDataset(std::string_view content, const std::vector<std::string>& labels) {
  std::vector<LabelledText> rows;
  Dataset dataset = ScanDataset(content, labels, [&rows](const LabelledText& row) { rows.push_back(row); });
  dataset.rows = std::move(rows);
  return dataset;
}

Result<Dataset> ReadDataset(const std::filesystem::path& file, const std::vector<std::string>& labels) {
  const Result<MappedFile> mapped = MappedFile::Open(file);
  if (!mapped) return mapped.error();
  Dataset dataset = ParseDataset(mapped->content(), labels);
  dataset.file = file.filename().string();
  return dataset;
}

Status CheckDataset(const Dataset& dataset, const std::vector<std::string>& labels, double max_bad_share,
                    std::size_t least) {
  const std::size_t records = dataset.classes.size() + dataset.bad_row_count;
  if (records == 0) {
    return InvalidArgument(
        fmt::format("{} holds no rows; expected lines like \"3\",\"title\",\"description\"", dataset.file));
  }
  if (static_cast<double>(dataset.bad_row_count) > max_bad_share * static_cast<double>(records)) {
    return InvalidArgument(fmt::format(
        "{}: {} of {} rows cannot be used, allowed is a share of {}; correct them or raise --max-bad-rows",
        dataset.file, dataset.bad_row_count, records, max_bad_share));
  }
  std::vector<std::size_t> counts(labels.size());
  for (const std::int32_t label : dataset.classes) ++counts[static_cast<std::size_t>(label)];
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (counts[i] < least) {
      return InvalidArgument(fmt::format("{}: the class {} ({}) has {} rows, needed are at least {}",
                                         dataset.file, i + 1, labels[i], counts[i], least));
    }
  }
  return {};
}

std::vector<bool> HoldOut(const std::vector<std::int32_t>& row_classes, std::size_t classes, double share,
                          std::uint64_t seed) {
  std::vector<std::vector<std::size_t>> by_class(classes);
  for (std::size_t i = 0; i < row_classes.size(); ++i)
    by_class[static_cast<std::size_t>(row_classes[i])].push_back(i);
  std::vector<bool> held_out(row_classes.size());
  std::mt19937_64 random(seed);
  for (std::vector<std::size_t>& members : by_class) {
    if (members.size() < 2) continue;
    const auto wanted = static_cast<std::size_t>(std::llround(share * static_cast<double>(members.size())));
    const std::size_t count = std::clamp<std::size_t>(wanted, 1, members.size() - 1);
    for (std::size_t i = 0; i < count; ++i) {
      // Not std::shuffle, whose order is the library's choice; the bias of % is far below one row.
      std::swap(members[i], members[i + random() % (members.size() - i)]);
      held_out[members[i]] = true;
    }
  }
  return held_out;
}

Split SplitRows(std::vector<LabelledText> rows, std::size_t classes, double share, std::uint64_t seed) {
  std::vector<std::int32_t> row_classes;
  row_classes.reserve(rows.size());
  for (const LabelledText& row : rows) row_classes.push_back(row.label);
  const std::vector<bool> held_out = HoldOut(row_classes, classes, share, seed);
  Split split;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    (held_out[i] ? split.validation : split.training).push_back(std::move(rows[i]));
  }
  return split;
}

}  // namespace serve::trainer
