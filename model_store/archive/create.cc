#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <map>
#include <system_error>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "model_store/archive/workflow_archive.h"
#include "model_store/archive/writer.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 1 << 20;

/// Path inside the archive → file on the disk; sorted, so that equal input gives equal archives.
using Contents = std::map<std::string, fs::path>;

Status AddFile(Contents& contents, const std::string& name, const fs::path& source) {
  std::error_code error;
  if (!fs::exists(source, error)) {
    return {Code::kNotFound, fmt::format("{}: no such file", source.string())};
  }
  if (!fs::is_regular_file(source, error)) {
    return InvalidArgument(fmt::format("{}: is not a regular file", source.string()));
  }
  if (const Status check = CheckEntryPath(name); !check.ok()) {
    return InvalidArgument(fmt::format("{}: {}", source.string(), check.message));
  }
  if (name.starts_with("MAR-INF/") || name.starts_with("WAR-INF/")) {
    return InvalidArgument(
        fmt::format("{}: {} belongs to the archive itself; leave it out of the extra files", source.string(),
                    name.substr(0, name.find('/'))));
  }
  const auto [place, added] = contents.emplace(name, source);
  if (!added && !fs::equivalent(place->second, source, error)) {
    return InvalidArgument(fmt::format("{} and {} would both be \"{}\" in the archive; rename one of them",
                                       place->second.string(), source.string(), name));
  }
  return {};
}

/// Adds the file under its own name and tells that name. Nothing when `source` is empty.
Status AddNamed(Contents& contents, const fs::path& source, std::string& name) {
  if (source.empty()) return {};
  name = source.filename().string();
  return AddFile(contents, name, source);
}

/// A folder's contents are merged into the root.
Status AddExtra(Contents& contents, const fs::path& source) {
  std::error_code error;
  if (!fs::is_directory(source, error)) return AddFile(contents, source.filename().string(), source);
  fs::recursive_directory_iterator entry(source, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) continue;
    const std::string name = entry->path().lexically_relative(source).generic_string();
    if (Status added = AddFile(contents, name, entry->path()); !added.ok()) return added;
  }
  if (error) return Internal(fmt::format("cannot list {}: {}", source.string(), error.message()));
  return {};
}

/// A handler is a built-in name or a Python file, given with or without `.py`, perhaps with `:function`
/// behind it. Files are packed; the manifest keeps the spelling without the folder.
Status AddHandler(Contents& contents, const std::string& handler, std::string& name) {
  static constexpr std::array<std::string_view, 9> kBuiltIn = {
      "tensor",          "text_classifier", "base_handler",          "image_classifier", "text_embedding",
      "image_segmenter", "object_detector", "dali_image_classifier", "BaseHandler"};
  if (handler.empty() || std::find(kBuiltIn.begin(), kBuiltIn.end(), handler) != kBuiltIn.end()) {
    name = handler;
    return {};
  }
  name = fs::path(handler).filename().string();
  std::string file = handler.substr(0, handler.find(':'));
  const bool is_path = file.ends_with(".py") || file.find('/') != std::string::npos;
  std::error_code error;
  if (!file.ends_with(".py") && !fs::is_regular_file(file, error)) file += ".py";
  if (!is_path && !fs::is_regular_file(file, error)) return {};  // a name that the server may know
  return AddFile(contents, fs::path(file).filename().string(), file);
}

/// `dd/mm/yyyy hh:mm:ss`, UTC.
Result<std::string> CreatedOn() {
  std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  if (const char* fixed = std::getenv("SOURCE_DATE_EPOCH")) {
    const std::string_view text = fixed;
    std::int64_t seconds = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || seconds < 0) {
      return InvalidArgument(fmt::format("SOURCE_DATE_EPOCH must be seconds since 1970, found \"{}\"", text));
    }
    now = seconds;
  }
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%d/%m/%Y %H:%M:%S", &parts);
  return std::string(text);
}

/// Pieces from all over a file, or all of a small one.
std::string Sample(std::ifstream& file, std::uint64_t size) {
  constexpr std::uint64_t kPieces = 16;
  constexpr std::uint64_t kPiece = 64 * 1024;
  const std::uint64_t pieces = size <= kPieces * kPiece ? 1 : kPieces;
  const std::uint64_t piece = pieces == 1 ? size : kPiece;
  std::string sample(pieces * piece, '\0');
  for (std::uint64_t i = 0; i < pieces; ++i) {
    file.seekg(static_cast<std::streamoff>(size / pieces * i));
    file.read(sample.data() + i * piece, static_cast<std::streamsize>(piece));
  }
  file.clear();  // a file that has become shorter is noticed when it is copied
  file.seekg(0);
  return sample;
}

/// Copies one file into the archive and digests what was copied.
Result<FileDigest> WriteFile(ArchiveWriter& writer, const std::string& name, const fs::path& source) {
  const auto changed = [&source] {
    return Internal(fmt::format("{}: changed while it was being packed", source.string()));
  };
  std::error_code error;
  const std::uintmax_t size = fs::file_size(source, error);
  std::ifstream file(source, std::ios::binary);
  if (error || !file) return Internal(fmt::format("cannot read {}", source.string()));
  if (Status begun = writer.Begin(name, size, Sample(file, size)); !begun.ok()) return begun;
  Sha256 sha;
  FileDigest digest;
  std::vector<char> block(kBlock);
  while (file) {
    file.read(block.data(), static_cast<std::streamsize>(block.size()));
    const std::string_view bytes(block.data(), static_cast<std::size_t>(file.gcount()));
    digest.size += bytes.size();
    if (digest.size > size) return changed();
    sha.Update(bytes);
    if (Status written = writer.Write(bytes); !written.ok()) return written;
  }
  if (file.bad()) return Internal(fmt::format("cannot read {}", source.string()));
  if (digest.size != size) return changed();
  digest.sha256 = sha.Finish();
  return digest;
}

/// Writes everything; the manifest last, when all digests are known.
Status WriteContents(const fs::path& output, const CreateOptions& options, const Contents& contents,
                     Manifest& manifest) {
  Result<std::unique_ptr<ArchiveWriter>> writer = OpenWriter(output, options.format, options.model_name);
  if (!writer) return writer.error();
  for (const auto& [name, source] : contents) {
    Result<FileDigest> digest = WriteFile(**writer, name, source);
    if (!digest) return digest.error();
    manifest.files.emplace(name, *std::move(digest));
  }
  const std::string text = ManifestText(manifest);
  if (text.size() > kMaxManifestBytes) {
    return InvalidArgument(
        fmt::format("the manifest has {} bytes, allowed are {}; shorten the lineage or pack fewer "
                    "files",
                    text.size(), kMaxManifestBytes));
  }
  // What could not be read again must not be written.
  if (const Result<Manifest> readable = ParseManifest(text); !readable) return readable.error();
  if (Status begun = (*writer)->Begin(std::string(kManifestPath), text.size(), text); !begun.ok())
    return begun;
  if (Status written = (*writer)->Write(text); !written.ok()) return written;
  return (*writer)->Finish();
}

Status AlreadyExists(const fs::path& path) {
  return {Code::kConflict,
          fmt::format("{} already exists.\nPlease specify --force/-f option to overwrite the model "
                      "archive output file.\nSee -h/--help for more details.",
                      path.string())};
}

/// Gives the finished archive its name, in one step.
Status Publish(const fs::path& partial, const fs::path& final_path, bool force) {
  std::error_code error;
  const auto failed = [&final_path] {
    return Internal(fmt::format("cannot write {}: {}", final_path.string(), std::strerror(errno)));
  };
  if (!force) {
    if (renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, final_path.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) return AlreadyExists(final_path);
      if (errno != EINVAL && errno != ENOSYS) return failed();
      if (rename(partial.c_str(), final_path.c_str()) != 0)
        return failed();  // a file system without that call
    }
  } else if (fs::is_directory(partial, error) && fs::exists(final_path, error)) {
    // A folder cannot be renamed over another; they change places instead.
    if (renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, final_path.c_str(), RENAME_EXCHANGE) == 0) {
      fs::remove_all(partial, error);
    } else {
      fs::remove_all(final_path, error);
      if (rename(partial.c_str(), final_path.c_str()) != 0) return failed();
    }
  } else if (rename(partial.c_str(), final_path.c_str()) != 0) {
    return failed();
  }
  const int folder = open(final_path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    fsync(folder);  // the name itself is on the disk; some file systems refuse, which costs nothing
    close(folder);
  }
  return {};
}

Status CollectContents(const CreateOptions& options, Contents& contents, Manifest& manifest) {
  if (Status check = CheckModelName(options.model_name); !check.ok()) return check;
  if (Status check = CheckModelVersion(options.version); !check.ok()) return check;
  if (!options.lineage.is_null() && !options.lineage.is_object()) {
    return InvalidArgument("the lineage must be a JSON object");
  }
  manifest.model_name = options.model_name;
  manifest.model_version = options.version;
  manifest.runtime = options.runtime;
  manifest.archiver_version = "flambeau-" FLAMBEAU_VERSION;
  manifest.inputs = options.inputs;
  manifest.outputs = options.outputs;
  manifest.handler_options = options.handler_options;
  manifest.batch = options.batch;
  manifest.lineage = options.lineage;
  for (const auto& [source, name] : {std::pair{&options.serialized_file, &manifest.serialized_file},
                                     std::pair{&options.model_file, &manifest.model_file},
                                     std::pair{&options.requirements_file, &manifest.requirements_file},
                                     std::pair{&options.config_file, &manifest.config_file},
                                     std::pair{&options.example_input, &manifest.example_input.file}}) {
    if (Status added = AddNamed(contents, *source, *name); !added.ok()) return added;
  }
  if (!options.example_input.empty()) {
    manifest.example_input.content_type = options.example_content_type.empty()
                                              ? ContentTypeOf(options.example_input)
                                              : options.example_content_type;
  }
  if (Status added = AddHandler(contents, options.handler, manifest.handler); !added.ok()) return added;
  for (const fs::path& extra : options.extra_files) {
    if (Status added = AddExtra(contents, extra); !added.ok()) return added;
  }
  return {};
}

/// The same for a workflow, whose manifest lists no digests.
Status WriteWorkflow(const fs::path& output, const Contents& contents, const WorkflowManifest& manifest) {
  Result<std::unique_ptr<ArchiveWriter>> writer = OpenWriter(output, ArchiveFormat::kDefault, "");
  if (!writer) return writer.error();
  for (const auto& [name, source] : contents) {
    if (const Result<FileDigest> digest = WriteFile(**writer, name, source); !digest) return digest.error();
  }
  const std::string text = WorkflowManifestText(manifest);
  if (const Result<WorkflowManifest> readable = ParseWorkflowManifest(text); !readable)
    return readable.error();
  if (Status begun = (*writer)->Begin(std::string(kWorkflowManifestPath), text.size(), text); !begun.ok())
    return begun;
  if (Status written = (*writer)->Write(text); !written.ok()) return written;
  return (*writer)->Finish();
}

Status CollectWorkflow(const CreateWorkflowOptions& options, Contents& contents, WorkflowManifest& manifest) {
  if (Status check = CheckModelName(options.workflow_name); !check.ok()) return check;
  manifest.workflow_name = options.workflow_name;
  manifest.archiver_version = "flambeau-" FLAMBEAU_VERSION;
  if (Status added = AddNamed(contents, options.spec_file, manifest.spec_file); !added.ok()) return added;
  if (Status added = AddNamed(contents, options.handler, manifest.handler); !added.ok()) return added;
  for (const fs::path& extra : options.extra_files) {
    if (Status added = AddExtra(contents, extra); !added.ok()) return added;
  }
  return {};
}

/// Makes `folder`/`name` with `write`, under another name until it is complete.
Result<fs::path> WriteInto(const fs::path& export_path, const std::string& name, bool force,
                           const std::function<Status(const fs::path&)>& write) {
  std::error_code error;
  const fs::path folder = export_path.empty() ? fs::path(".") : export_path;
  fs::create_directories(folder, error);
  if (error) return Internal(fmt::format("cannot make the folder {}: {}", folder.string(), error.message()));
  const fs::path final_path = folder / name;
  if (!force && fs::exists(fs::symlink_status(final_path, error))) return AlreadyExists(final_path);
  const fs::path partial = fmt::format("{}.partial.{}", final_path.string(), getpid());
  fs::remove_all(partial, error);  // of a process of the same number that was killed
  Status done = write(partial);
  if (done.ok()) done = Publish(partial, final_path, force);
  if (done.ok()) return final_path;
  fs::remove_all(partial, error);
  return done;
}

}  // namespace

Result<CreatedArchive> CreateWorkflowArchive(const CreateWorkflowOptions& options) {
  Contents contents;
  WorkflowManifest manifest;
  if (Status collected = CollectWorkflow(options, contents, manifest); !collected.ok()) return collected;
  Result<std::string> created_on = CreatedOn();
  if (!created_on) return created_on.error();
  manifest.created_on = *std::move(created_on);

  const std::string name = options.workflow_name + ".war";
  const auto write = [&](const fs::path& partial) { return WriteWorkflow(partial, contents, manifest); };
  const Result<fs::path> file = WriteInto(options.export_path, name, options.force, write);
  if (!file) return file.error();
  Result<FileDigest> digest = DigestFile(*file);
  if (!digest) return digest.error();
  return CreatedArchive{*file, digest->size, std::move(digest->sha256)};
}

Result<CreatedArchive> CreateArchive(const CreateOptions& options) {
  Contents contents;
  Manifest manifest;
  if (Status collected = CollectContents(options, contents, manifest); !collected.ok()) return collected;
  Result<std::string> created_on = CreatedOn();
  if (!created_on) return created_on.error();
  manifest.created_on = *std::move(created_on);

  const std::string_view ending = options.format == ArchiveFormat::kTgz         ? ".tar.gz"
                                  : options.format == ArchiveFormat::kNoArchive ? ""
                                                                                : ".mar";
  const auto write = [&](const fs::path& partial) {
    return WriteContents(partial, options, contents, manifest);
  };
  const Result<fs::path> file =
      WriteInto(options.export_path, fmt::format("{}{}", options.model_name, ending), options.force, write);
  if (!file) return file.error();
  CreatedArchive created{*file, 0, {}};
  if (options.format == ArchiveFormat::kNoArchive) {
    for (const auto& [name, digest] : manifest.files) created.size += digest.size;
    created.size += ManifestText(manifest).size();
    return created;
  }
  Result<FileDigest> digest = DigestFile(*file);
  if (!digest) return digest.error();
  created.size = digest->size;
  created.sha256 = std::move(digest->sha256);
  return created;
}

}  // namespace serve
