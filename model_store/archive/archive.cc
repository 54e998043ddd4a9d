#include "model_store/archive/archive.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "model_store/archive/unpack.h"
#include "serve/base/files.h"
#include "serve/base/work_folder.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxListed = 20;  // files that one Verify error names

std::string LowerName(const fs::path& path) {
  std::string name = path.filename().string();
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

bool IsTar(const std::string& lower_name) {
  return lower_name.ends_with(".tar.gz") || lower_name.ends_with(".tgz");
}

bool IsModuleFile(const fs::path& path) {
  const std::string name = LowerName(path);
  return name.ends_with(".pt") || name.ends_with(".pt2");
}

/// TorchServe descends into a folder that holds nothing but one folder.
fs::path DescendOnce(const fs::path& folder) {
  std::error_code error;
  const std::vector<fs::path> entries = EntriesOf(folder);
  if (entries.size() != 1 || entries[0].filename() == "MAR-INF") return folder;
  return fs::is_directory(entries[0], error) ? entries[0] : folder;
}

/// The only .pt or .pt2 at the root, or nothing.
std::string OnlyModuleFile(const fs::path& folder) {
  std::error_code error;
  std::string found;
  for (const fs::path& entry : EntriesOf(folder)) {
    if (!IsModuleFile(entry) || !fs::is_regular_file(entry, error)) continue;
    if (!found.empty()) return {};
    found = entry.filename().string();
  }
  return found;
}

/// Reads the manifest of `opened.folder` and finds what it names. `path` begins the errors.
Status ReadContents(const fs::path& path, const UnpackLimits& limits, UnpackedArchive& opened) {
  const fs::path file = opened.folder / kManifestPath;
  std::error_code error;
  if (fs::is_regular_file(file, error)) {
    const Result<std::string> text = ReadFile(file, kMaxManifestBytes);
    if (!text) {
      return {text.error().code,
              fmt::format("{}: cannot read {}: {}", path.string(), kManifestPath, text.error().message)};
    }
    Result<Manifest> manifest = ParseManifest(*text);
    if (!manifest)
      return {manifest.error().code, fmt::format("{}: {}", path.string(), manifest.error().message)};
    opened.manifest = *std::move(manifest);
    opened.has_manifest = true;
  } else if (limits.allow_missing_manifest) {
    opened.manifest.serialized_file = OnlyModuleFile(opened.folder);
  } else {
    return InvalidArgument(
        fmt::format("{}: {} is missing; make the archive with `flambeau archive create`, or copy "
                    "it again if it was made with it",
                    path.string(), kManifestPath));
  }
  for (const auto& [what, name] : {std::pair{"serialized file", &opened.manifest.serialized_file},
                                   std::pair{"example input", &opened.manifest.example_input.file}}) {
    if (!name->empty() && !fs::is_regular_file(opened.folder / *name, error)) {
      return InvalidArgument(fmt::format("{}: the manifest names the {} \"{}\", which is not in the archive",
                                         path.string(), what, *name));
    }
  }
  if (!opened.manifest.serialized_file.empty()) {
    opened.serialized_file = opened.folder / opened.manifest.serialized_file;
  }
  return {};
}

/// Paths of all files below `folder`, as an archive names them; no link to a folder is followed.
Result<std::vector<std::string>> ListFiles(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) continue;
    files.push_back(entry->path().lexically_relative(folder).generic_string());
  }
  if (error) return Internal(fmt::format("cannot list {}: {}", folder.string(), error.message()));
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<fs::path> EntriesOf(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error))
    entries.push_back(entry->path());
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool HasArchiveName(const fs::path& path) {
  const std::string name = LowerName(path);
  return name.ends_with(".mar") || IsTar(name) || IsModuleFile(path);
}

Result<UnpackedArchive> OpenArchive(const fs::path& path, const fs::path& into, const UnpackLimits& limits) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return Status{Code::kNotFound, fmt::format("{}: no such file or folder", path.string())};
  UnpackedArchive opened;
  if (fs::is_directory(status)) {
    opened.folder = DescendOnce(path);
    if (Status read = ReadContents(path, limits, opened); !read.ok()) return read;
    return opened;
  }
  if (!fs::is_regular_file(status)) {
    return InvalidArgument(fmt::format("{}: is neither a file nor a folder", path.string()));
  }
  if (IsModuleFile(path)) {
    opened.folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    opened.serialized_file = path;
    opened.manifest.serialized_file = path.filename().string();
    opened.bare_file = true;
    return opened;
  }
  const std::string name = LowerName(path);
  const bool tar = IsTar(name);
  if (!HasArchiveName(path)) {
    return InvalidArgument(
        fmt::format("{}: a model is a .mar, .tar.gz, .tgz, .pt or .pt2 file, or a folder", path.string()));
  }
  Result<WorkFolder> folder = WorkFolder::Make(into, "archive");
  if (!folder) return folder.error();
  opened.folder = folder->path();
  opened.temporary = true;
  Status done = Unpack(path, opened.folder, tar ? PackedFormat::kTarGz : PackedFormat::kZip, limits);
  if (done.ok()) done = ReadContents(path, limits, opened);
  if (!done.ok()) return done;
  std::move(*folder).Release();
  return opened;
}

void RemoveUnpacked(UnpackedArchive& archive) {
  if (!std::exchange(archive.temporary, false)) return;
  std::error_code ignored;
  fs::remove_all(archive.folder, ignored);
  archive.folder.clear();
  archive.serialized_file.clear();
}

Result<VerifyReport> VerifyArchive(const UnpackedArchive& archive) {
  VerifyReport report;
  if (archive.manifest.files.empty()) return report;
  report.has_digests = true;
  std::vector<std::string> problems;
  for (const auto& [path, expected] : archive.manifest.files) {
    std::error_code error;
    if (!fs::is_regular_file(archive.folder / path, error)) {  // opening a pipe would wait for a writer
      problems.push_back(fmt::format("{} is missing", path));
      continue;
    }
    const Result<FileDigest> digest = DigestFile(archive.folder / path);
    if (!digest) {
      problems.push_back(digest.error().message);
    } else if (digest->size != expected.size) {
      problems.push_back(fmt::format("{} has {} bytes instead of {}", path, digest->size, expected.size));
    } else if (digest->sha256 != expected.sha256) {
      problems.push_back(
          fmt::format("{} has the sha256 {} instead of {}", path, digest->sha256, expected.sha256));
    } else {
      ++report.files;
      report.bytes += digest->size;
    }
  }
  const Result<std::vector<std::string>> present = ListFiles(archive.folder);
  if (!present) return present.error();
  for (const std::string& path : *present) {
    if (path != kManifestPath && !archive.manifest.files.contains(path)) {
      problems.push_back(fmt::format("{} is not listed in the manifest", path));
    }
  }
  if (problems.empty()) return report;
  std::string text = "the archive does not match its manifest: ";
  for (std::size_t i = 0; i < std::min(problems.size(), kMaxListed); ++i) {
    text += (i == 0 ? "" : "; ") + problems[i];
  }
  if (problems.size() > kMaxListed) text += fmt::format("; and {} more", problems.size() - kMaxListed);
  return InvalidArgument(std::move(text));
}

std::string ContentTypeOf(const fs::path& file) {
  static constexpr std::pair<std::string_view, std::string_view> kTypes[] = {
      {".json", "application/json"}, {".txt", "text/plain"}, {".csv", "text/csv"},    {".html", "text/html"},
      {".xml", "application/xml"},   {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"}, {".png", "image/png"},
      {".webp", "image/webp"},       {".gif", "image/gif"},
  };
  const std::string name = LowerName(file);
  for (const auto& [ending, type] : kTypes) {
    if (name.ends_with(ending)) return std::string(type);
  }
  return "application/octet-stream";
}

}  // namespace serve
