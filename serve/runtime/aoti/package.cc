#include "serve/runtime/aoti/package.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/archive.h"
#include "model_store/archive/manifest.h"
#include "model_store/archive/unpack.h"
#include "serve/base/files.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModels = "data/aotinductor";
constexpr std::string_view kMetadataEnding = "_metadata.json";
constexpr std::uint64_t kMostMetadataBytes = 64U << 20;
constexpr const char* kHowToCompile =
    "compile the exported program with torch._inductor.aoti_compile_and_package(program, "
    "package_path=\"model.pt2\")";

/// What the unpacked zip is, if it is no package.
Status WrongKind(const fs::path& root) {
  std::error_code error;
  if (fs::exists(root / "constants.pkl", error) || fs::is_directory(root / "code", error)) {
    return InvalidArgument(
        "the file is TorchScript, not a .pt2 package: give it the ending .pt and register it without batch");
  }
  if (fs::is_directory(root / "models", error)) {
    return InvalidArgument(fmt::format(
        "the file is an exported program (torch.export.save) that was not compiled; {}", kHowToCompile));
  }
  if (fs::exists(root / "data.pkl", error)) {
    return InvalidArgument(
        fmt::format("the file is a state_dict or a pickled module (torch.save), not a .pt2 package; export "
                    "the module with "
                    "torch.export.export, then {}",
                    kHowToCompile));
  }
  return InvalidArgument(fmt::format("the file is a zip, but not a .pt2 package: it has no folder {}; {}",
                                     kModels, kHowToCompile));
}

/// The folder that holds `data/`: the zip has one top folder, called after the file that torch wrote.
fs::path TopFolder(const fs::path& folder) {
  std::error_code error;
  const std::vector<fs::path> entries = EntriesOf(folder);
  return entries.size() == 1 && fs::is_directory(entries[0], error) && entries[0].filename() != "data"
             ? entries[0]
             : folder;
}

Result<std::string> ChooseModel(const fs::path& models) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::path& entry : EntriesOf(models)) {
    if (fs::is_directory(entry, error)) names.push_back(entry.filename().string());
  }
  if (names.size() == 1) return names[0];
  if (std::find(names.begin(), names.end(), "model") != names.end()) return std::string("model");
  return InvalidArgument(fmt::format("the package must hold one model, or one named model; it holds {}{}",
                                     names.size(),
                                     names.empty() ? "" : fmt::format(": {}", fmt::join(names, ", "))));
}

/// Reads the metadata that lies beside the library; there is more of it, of each source file.
Status ReadMetadata(const fs::path& library, std::map<std::string, std::string>& metadata) {
  fs::path path = library;
  path.replace_extension();
  path += kMetadataEnding;
  const Result<std::string> text = ReadFile(path, kMostMetadataBytes);
  if (!text || text->empty()) {
    return InvalidArgument(fmt::format("the package is damaged: {}: {}", path.filename().string(),
                                       text ? "it is empty" : text.error().message));
  }
  nlohmann::ordered_json json;
  if (Status parsed = ParseLimitedJson(*text, path.filename().string(), json); !parsed.ok()) return parsed;
  if (!json.is_object())
    return InvalidArgument(fmt::format("{}: expected an object", path.filename().string()));
  for (const auto& [key, value] : json.items()) {
    if (value.is_string()) metadata.emplace(key, value.get<std::string>());
  }
  return {};
}

}  // namespace

Result<Package> OpenPackage(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  if (error) return Internal(fmt::format("cannot read {}: {}", file.string(), error.message()));
  if (size == 0) return InvalidArgument("the file is empty; copy it again");
  char begin[4] = {};
  std::ifstream(file, std::ios::binary).read(begin, sizeof begin);
  if (std::string_view(begin, sizeof begin) != std::string_view("PK\x03\x04", 4)) {
    return InvalidArgument(
        fmt::format("the file is no zip, which every .pt2 package is (its {} bytes begin otherwise); {}",
                    size, kHowToCompile));
  }
  UnpackLimits limits;
  limits.max_bytes =
      std::numeric_limits<std::uint64_t>::max();  // weights are stored: no larger than the file
  if (Status unpacked = Unpack(file, folder, PackedFormat::kZip, limits); !unpacked.ok()) return unpacked;

  Package package;
  package.folder = TopFolder(folder);
  const fs::path models = package.folder / kModels;
  if (!fs::is_directory(models, error)) return WrongKind(package.folder);
  Result<std::string> model = ChooseModel(models);
  if (!model) return model.error();
  package.model = *std::move(model);

  std::vector<fs::path> libraries;
  for (const fs::path& entry : EntriesOf(models / package.model)) {
    if (entry.extension() == ".so") libraries.push_back(entry);
  }
  if (libraries.size() != 1) {
    // Without a library libtorch would compile the sources in the package; a server has no compiler.
    return InvalidArgument(fmt::format("the package must hold one compiled library (.so), it holds {}; {}",
                                       libraries.size(), kHowToCompile));
  }
  package.source = fs::path(libraries[0]).replace_extension(".cpp");
  if (Status read = ReadMetadata(libraries[0], package.metadata); !read.ok()) return read;
  return package;
}

bool IsPackage(const fs::path& file) {
  const std::unique_ptr<struct archive, int (*)(struct archive*)> reader(archive_read_new(),
                                                                         archive_read_free);
  archive_read_support_format_zip_seekable(reader.get());
  if (archive_read_open_filename(reader.get(), file.c_str(), 64 * 1024) != ARCHIVE_OK) return false;
  struct archive_entry* entry = nullptr;
  while (archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    if (name != nullptr && std::string_view(name).find(fmt::format("{}/", kModels)) != std::string_view::npos)
      return true;
  }
  return false;
}

}  // namespace serve
