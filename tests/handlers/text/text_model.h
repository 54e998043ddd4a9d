#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "handlers/text/text_classifier.h"
#include "handlers/text/vocabulary.h"

namespace serve {

/// A folder of its own; gone with the object.
class TestFolder {
 public:
  TestFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "flambeau-text-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) std::abort();
    path_ = path;
  }
  ~TestFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path Write(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// ids: bank 0, goal 1, team 2, vote 3.
inline constexpr std::string_view kSmallVocabulary =
    "flambeau-vocabulary\t1\t10\nbank\t2\ngoal\t1.5\nteam\t1\nvote\t4\n";
inline constexpr std::string_view kSmallLabels = R"({"0": "World", "1": "Sports"})";

inline std::unique_ptr<Handler> SmallClassifier(const TestFolder& folder,
                                                std::string_view labels = kSmallLabels,
                                                const TextLimits& limits = {}) {
  folder.Write("vocabulary.tsv", kSmallVocabulary);
  folder.Write("index_to_name.json", labels);
  HandlerArtifacts artifacts;
  artifacts.folder = folder.path();
  auto handler = MakeTextClassifier(artifacts, limits);
  if (!handler) throw std::runtime_error(handler.error().message);
  return *std::move(handler);
}

}  // namespace serve
