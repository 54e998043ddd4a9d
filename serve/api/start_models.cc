#include "serve/api/start_models.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "model_store/archive/archive.h"
#include "model_store/archive/manifest.h"
#include "serve/base/log.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

std::string Trim(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool IsArchive(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (name.starts_with('.') || name.find(".partial.") != std::string::npos) return false;
  std::error_code error;
  if (entry.is_directory(error)) return fs::exists(entry.path() / kManifestPath, error);
  return HasArchiveName(entry.path());
}

std::vector<StartItem> Everything(const std::string& store) {
  std::vector<StartItem> items;
  std::error_code error;
  fs::directory_iterator entry(store, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (IsArchive(*entry)) items.push_back({"", entry->path().filename().string()});
  }
  if (error) LogError("cannot list the model store {}: {}", store, error.message());
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.source < b.source; });
  return items;
}

StartItem ParseItem(const std::string& item) {
  const std::size_t equals = item.find('=');
  if (equals == std::string::npos || item.find_first_of("/?") < equals) return {"", item};
  return {Trim(item.substr(0, equals)), Trim(item.substr(equals + 1))};
}

}  // namespace

std::vector<StartItem> ParseLoadModels(const std::string& text, const std::string& store) {
  const std::string trimmed = Trim(text);
  const std::string word = Lower(trimmed);
  if (word.empty() || word == "none" || word == "standalone") return {};
  if (word == "all") return Everything(store);
  std::vector<StartItem> items;
  for (std::size_t start = 0; start <= trimmed.size();) {
    const std::size_t comma = std::min(trimmed.find(',', start), trimmed.size());
    const std::string item = Trim(trimmed.substr(start, comma - start));
    start = comma + 1;
    if (!item.empty()) items.push_back(ParseItem(item));
  }
  return items;
}

}  // namespace serve
