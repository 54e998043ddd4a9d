#include "trainer/publish/package.h"

#include <cstring>
#include <fstream>
#include <string_view>
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

Result<CreatedArchive> PackModel(const Package& package, const Vocabulary& vocabulary, const WorkFolder& work,
                                 const fs::path& out, bool force) {
  Parts parts;
  parts.name = package.name;
  parts.version = package.version;
  parts.module = package.module;
  parts.handler = "text_classifier";
  // The inputs stay undeclared: their rows are ragged, which `[rows, ...]` cannot say.
  parts.outputs = {{"probabilities", DType::kFloat32, {static_cast<std::int64_t>(package.labels.size())}}};
  parts.labels = package.labels;
  parts.example = {"example_input.json", Text({{"text", package.example_text}})};
  parts.extra_files = {{std::string(kVocabularyFile), vocabulary.FileText()}};
  parts.metrics = package.metrics;
  parts.lineage = package.lineage;
  return PackParts(parts, work, out, force);
}

Result<CreatedArchive> PackParts(const Parts& parts, const WorkFolder& work, const fs::path& out,
                                 bool force) {
  Json names = Json::object();
  for (std::size_t i = 0; i < parts.labels.size(); ++i) names[std::to_string(i)] = parts.labels[i];
  std::vector<std::pair<std::string, std::string>> files = parts.extra_files;
  files.emplace_back(kLabelsFile, Text(names));
  files.emplace_back("metrics.json", Text(parts.metrics));
  CreateOptions options;
  for (const auto& [name, content] : files) {
    if (Status written = WriteFile(work.path() / name, content); !written.ok()) return written;
    options.extra_files.push_back(work.path() / name);
  }
  options.example_input = work.path() / parts.example.first;
  if (Status written = WriteFile(options.example_input, parts.example.second); !written.ok()) return written;
  options.model_name = parts.name;
  options.version = parts.version;
  options.serialized_file = parts.module;
  options.handler = parts.handler;
  options.handler_options = parts.handler_options;
  options.inputs = parts.inputs;
  options.outputs = parts.outputs;
  options.lineage = parts.lineage;
  AddBaseline(options.lineage);
  options.export_path = out;
  options.force = force;
  return CreateArchive(options);
}

}  // namespace serve::trainer
