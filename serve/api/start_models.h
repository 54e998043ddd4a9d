#pragma once

#include <string>
#include <vector>

namespace serve {

/// One item of `load_models`: `source` or `name=source`.
struct StartItem {
  std::string name;  // empty: as the archive says
  std::string source;

  bool operator==(const StartItem&) const = default;
};

/// Reads `load_models`: `all` (what the folder `store` holds: files that may be archives, HasArchiveName, and
/// folders with a manifest, sorted), `none` or nothing, or items with commas between them. Blanks around
/// items are ignored. A URL may hold `=` in its query; the name ends at the first `=` that stands before any
/// `/` or `?`.
std::vector<StartItem> ParseLoadModels(const std::string& text, const std::string& store);

}  // namespace serve
