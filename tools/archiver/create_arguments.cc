#include "tools/archiver/create_arguments.h"

#include <algorithm>
#include <glob.h>
#include <system_error>

#include <fmt/format.h>

namespace serve {

namespace fs = std::filesystem;

const std::vector<std::string>& FormatNames() {
  static const std::vector<std::string> names = {"default", "zip-store", "no-archive", "tgz"};
  return names;
}

ArchiveFormat FormatOf(const std::string& name) {
  if (name == "zip-store") return ArchiveFormat::kZipStore;
  if (name == "no-archive") return ArchiveFormat::kNoArchive;
  return name == "tgz" ? ArchiveFormat::kTgz : ArchiveFormat::kDefault;
}

void TakeFiles(const CreateFiles& typed, CreateOptions& options) {
  options.serialized_file = typed.serialized_file;
  options.model_file = typed.model_file;
  options.requirements_file = typed.requirements_file;
  options.config_file = typed.config_file;
  options.export_path = typed.export_path;
  options.format = FormatOf(typed.format);
}

Status ReadExtraFiles(const std::vector<std::string>& lists, std::vector<fs::path>& files) {
  std::error_code error;
  for (const std::string& list : lists) {
    for (std::size_t begin = 0; begin <= list.size();) {
      const std::size_t end = std::min(list.find(',', begin), list.size());
      const std::string item = list.substr(begin, end - begin);
      begin = end + 1;
      if (item.empty()) continue;
      if (item.find_first_of("*?[") == std::string::npos || fs::exists(item, error)) {
        files.emplace_back(item);
        continue;
      }
      glob_t found{};
      const bool any = glob(item.c_str(), 0, nullptr, &found) == 0;
      for (std::size_t i = 0; any && i < found.gl_pathc; ++i) files.emplace_back(found.gl_pathv[i]);
      globfree(&found);
      if (!any) return {Code::kNotFound, fmt::format("--extra-files {}: no file matches", item)};
    }
  }
  return {};
}

}  // namespace serve
