#include "trainer/data/csv_reader.h"

#include <algorithm>

#include <fmt/format.h>

namespace serve::trainer {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

CsvReader::CsvReader(std::string_view text) : text_(text) {
  if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
}

bool CsvReader::Next(CsvRecord& record) {
  SkipBlankLines();
  if (at_ >= text_.size()) return false;
  record = {};
  record.line = line_;
  const std::size_t start = at_;
  for (;;) {
    if (at_ < text_.size() && text_[at_] == '"') {
      if (!ReadQuoted(record)) {
        at_ = std::min(text_.find('\n', start), text_.size() - 1) + 1;
        line_ = record.line + 1;
        return true;
      }
    } else {
      ReadPlain(record);
    }
    if (at_ >= text_.size() || TakeLineEnd()) return true;
    ++at_;  // the comma
  }
}

/// Reads up to what ends the field; false when it is malformed.
bool CsvReader::ReadQuoted(CsvRecord& record) {
  const std::size_t first_line = line_;
  std::string field;
  for (std::size_t from = at_ + 1;;) {
    const std::size_t quote = text_.find('"', from);
    const std::size_t end = std::min(quote, text_.size());
    if (field.size() + (end - from) > kMaxFieldBytes) {
      record.problem = fmt::format(
          "a quoted field that begins on line {} is longer than {} bytes; is its closing quote missing?",
          first_line, kMaxFieldBytes);
      return false;
    }
    const std::string_view piece = text_.substr(from, end - from);
    field += piece;
    line_ += static_cast<std::size_t>(std::count(piece.begin(), piece.end(), '\n'));
    if (quote == std::string_view::npos) {
      record.problem = fmt::format("a quoted field that begins on line {} is never closed", first_line);
      return false;
    }
    at_ = quote + 1;
    if (at_ >= text_.size() || text_[at_] != '"') break;
    field += '"';
    from = at_ + 1;
  }
  const std::string_view rest = text_.substr(at_);
  if (!rest.empty() && rest[0] != ',' && rest[0] != '\n' && !rest.starts_with("\r\n")) {
    record.problem =
        fmt::format("text follows the closing quote of field {}; inside a field, write a quote twice",
                    record.fields.size() + 1);
    return false;
  }
  record.fields.push_back(std::move(field));
  return true;
}

void CsvReader::ReadPlain(CsvRecord& record) {
  const std::size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
  std::size_t stop = end;
  if (stop > at_ && text_[stop - 1] == '\r' && (end == text_.size() || text_[end] == '\n')) --stop;
  record.fields.emplace_back(text_.substr(at_, stop - at_));
  at_ = end;
}

void CsvReader::SkipBlankLines() {
  while (at_ < text_.size() && TakeLineEnd()) {
  }
}

bool CsvReader::TakeLineEnd() {
  const std::string_view rest = text_.substr(at_);
  const std::size_t length = rest.starts_with("\n") ? 1 : rest.starts_with("\r\n") ? 2 : 0;
  at_ += length;
  line_ += length > 0 ? 1 : 0;
  return length > 0;
}

}  // namespace serve::trainer
