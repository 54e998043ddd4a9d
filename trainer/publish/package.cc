#include "trainer/publish/package.h"

#include <cstdlib>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "handlers/text/labels.h"
#include "trainer/tracking/baseline.h"

namespace serve::trainer {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

Status WriteFile(const fs::path& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
  file.close();
  if (!file) return Internal(fmt::format("cannot write {}", path.string()));
  return {};
}

std::string Text(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

Result<WorkFolder> WorkFolder::Make() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "flambeau-train-XXXXXX").string();
  if (error || mkdtemp(path.data()) == nullptr) {
    return Internal(fmt::format("cannot make a temporary folder {}; is TMPDIR right?", path));
  }
  return WorkFolder(path);
}

WorkFolder::WorkFolder(WorkFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

WorkFolder::~WorkFolder() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

Result<CreatedArchive> PackModel(const Package& package, const Vocabulary& vocabulary, const WorkFolder& work,
                                 const fs::path& out, bool force) {
  Json names = Json::object();
  for (std::size_t i = 0; i < package.labels.size(); ++i) names[std::to_string(i)] = package.labels[i];
  const std::pair<fs::path, std::string> files[] = {
      {work.path() / kVocabularyFile, vocabulary.FileText()},
      {work.path() / kLabelsFile, Text(names)},
      {work.path() / "metrics.json", Text(package.metrics)},
      {work.path() / "example_input.json", Text({{"text", package.example_text}})},
  };
  CreateOptions options;
  for (const auto& [path, content] : files) {
    if (Status written = WriteFile(path, content); !written.ok()) return written;
    if (path.filename() != "example_input.json") options.extra_files.push_back(path);
  }
  options.model_name = package.name;
  options.version = package.version;
  options.serialized_file = package.module;
  options.handler = "text_classifier";
  // The inputs stay undeclared: their rows are ragged, which `[rows, ...]` cannot say.
  options.outputs = {{"probabilities", DType::kFloat32, {static_cast<std::int64_t>(package.labels.size())}}};
  options.example_input = work.path() / "example_input.json";
  options.lineage = package.lineage;
  AddBaseline(options.lineage);
  options.export_path = out;
  options.force = force;
  return CreateArchive(options);
}

}  // namespace serve::trainer
