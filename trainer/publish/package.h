#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "handlers/text/vocabulary.h"
#include "model_store/archive/archive.h"
#include "serve/base/status.h"
#include "serve/base/work_folder.h"

namespace serve::trainer {

/// What becomes an archive of a text classifier.
struct Package {
  std::string name;
  std::string version;
  std::filesystem::path module;  // its TorchScript file, named model.pt
  std::vector<std::string> labels;
  std::string example_text;
  nlohmann::ordered_json metrics;
  nlohmann::ordered_json lineage;
};

/// What becomes an archive of any kind.
struct Parts {
  std::string name;
  std::string version;
  std::filesystem::path module;  // its TorchScript file, named model.pt
  std::string handler;
  std::map<std::string, std::string, std::less<>> handler_options{};
  std::vector<TensorSpec> inputs{};
  std::vector<TensorSpec> outputs{};
  std::vector<std::string> labels{};
  std::pair<std::string, std::string> example{};                   // name of the file and its content
  std::vector<std::pair<std::string, std::string>> extra_files{};  // the same, beside labels and metrics
  nlohmann::ordered_json metrics{};
  nlohmann::ordered_json lineage{};
};

/// Writes vocabulary.tsv, index_to_name.json, metrics.json and example_input.json into `work` and packs them
/// with the module as `<out>/<name>.mar`, for the handler text_classifier. Errors: those of CreateArchive;
/// kInternal when a file cannot be written.
Result<CreatedArchive> PackModel(const Package& package, const Vocabulary& vocabulary, const WorkFolder& work,
                                 const std::filesystem::path& out, bool force);

/// Writes extra files, index_to_name.json, metrics.json and the example into `work` and packs them with the
/// module as
/// `<out>/<name>.mar`. Errors: as PackModel.
Result<CreatedArchive> PackParts(const Parts& parts, const WorkFolder& work, const std::filesystem::path& out,
                                 bool force);

}  // namespace serve::trainer
