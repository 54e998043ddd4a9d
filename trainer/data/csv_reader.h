#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace serve::trainer {

struct CsvRecord {
  std::vector<std::string> fields;
  std::size_t line = 0;  // where it begins, from 1
  std::string problem;   // why it cannot be used; empty: it is fine
};

/// Reads comma-separated values one record at a time (RFC 4180): fields may be quoted, quoted ones may hold
/// commas, line ends and doubled quotes. LF and CRLF, a byte order mark, blank lines and a last line without
/// an end are all fine; a quote inside an unquoted field is an ordinary character.
///
/// Errors: a malformed record comes back with its `problem`; reading goes on at the line after the one it
/// began on, so
///         that a quote that was never closed costs one record and not the rest of the file.
/// Memory: `text` is borrowed.
class CsvReader {
 public:
  static constexpr std::size_t kMaxFieldBytes = std::size_t{1} << 20;

  explicit CsvReader(std::string_view text);
  /// False at the end; `record` is then untouched.
  bool Next(CsvRecord& record);

 private:
  bool ReadQuoted(CsvRecord& record);
  void ReadPlain(CsvRecord& record);
  void SkipBlankLines();
  /// Whether a line ends here; steps over it.
  bool TakeLineEnd();

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace serve::trainer
