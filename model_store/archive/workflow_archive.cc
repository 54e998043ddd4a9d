#include "model_store/archive/workflow_archive.h"

#include <cstring>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "model_store/archive/unpack.h"
#include "serve/base/files.h"
#include "serve/base/work_folder.h"

namespace serve {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// A regular file of the archive, at most `max_bytes`.
Status ReadText(const fs::path& archive, const fs::path& file, std::string_view name, std::size_t max_bytes,
                std::string& text) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(file, error))) {  // a link could lead anywhere, a pipe waits
    return InvalidArgument(fmt::format("{}: {} is missing", archive.string(), name));
  }
  Result<std::string> read = ReadFile(file, max_bytes);
  if (!read) {
    return {read.error().code,
            fmt::format("{}: cannot read {}: {}", archive.string(), name, read.error().message)};
  }
  text = *std::move(read);
  return {};
}

Status ReadKey(const Json& object, const char* key, std::string& out) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (!found->is_string()) {
    return InvalidArgument(fmt::format("{}: the key \"{}\" must be a string", kWorkflowManifestPath, key));
  }
  out = found->get<std::string>();
  return {};
}

}  // namespace

Result<WorkflowManifest> ParseWorkflowManifest(std::string_view text) {
  Json document;
  if (Status parsed = ParseLimitedJson(text, kWorkflowManifestPath, document); !parsed.ok()) return parsed;
  if (!document.is_object() || !document.contains("workflow") || !document["workflow"].is_object()) {
    return InvalidArgument(fmt::format("{}: it must be an object with \"workflow\"", kWorkflowManifestPath));
  }
  const Json& workflow = document["workflow"];
  WorkflowManifest manifest;
  for (const Status& status :
       {ReadKey(document, "createdOn", manifest.created_on),
        ReadKey(document, "archiverVersion", manifest.archiver_version),
        ReadKey(workflow, "workflowName", manifest.workflow_name),
        ReadKey(workflow, "specFile", manifest.spec_file), ReadKey(workflow, "handler", manifest.handler)}) {
    if (!status.ok()) return status;
  }
  if (manifest.spec_file.empty()) {
    return InvalidArgument(
        fmt::format("{}: the key \"workflow.specFile\" is missing: expected the name of "
                    "the workflow's YAML file",
                    kWorkflowManifestPath));
  }
  if (const Status check = CheckEntryPath(manifest.spec_file); !check.ok()) {
    return InvalidArgument(
        fmt::format("{}: the key \"workflow.specFile\": {}", kWorkflowManifestPath, check.message));
  }
  return manifest;
}

std::string WorkflowManifestText(const WorkflowManifest& manifest) {
  Json workflow = {{"workflowName", manifest.workflow_name}, {"specFile", manifest.spec_file}};
  if (!manifest.handler.empty()) workflow["handler"] = manifest.handler;
  const Json document = {{"createdOn", manifest.created_on},
                         {"workflow", std::move(workflow)},
                         {"archiverVersion", manifest.archiver_version}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace);
}

Result<WorkflowArchive> ReadWorkflowArchive(const fs::path& path, const fs::path& into,
                                            const UnpackLimits& limits, std::size_t max_spec_bytes) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return Status{Code::kNotFound, fmt::format("{}: no such file or folder", path.string())};
  std::optional<WorkFolder> unpacked;
  fs::path folder = path;
  if (!fs::is_directory(status)) {
    if (!fs::is_regular_file(status) || path.extension() != ".war") {
      return InvalidArgument(fmt::format("{}: a workflow is a .war file or a folder", path.string()));
    }
    Result<WorkFolder> made = WorkFolder::Make(into, "workflow");
    if (!made) return made.error();
    folder = unpacked.emplace(*std::move(made)).path();
    if (Status done = Unpack(path, folder, PackedFormat::kZip, limits); !done.ok()) return done;
  }
  WorkflowArchive archive;
  std::string text;
  if (Status read =
          ReadText(path, folder / kWorkflowManifestPath, kWorkflowManifestPath, kMaxManifestBytes, text);
      !read.ok()) {
    return read;
  }
  Result<WorkflowManifest> manifest = ParseWorkflowManifest(text);
  if (!manifest)
    return Status{manifest.error().code, fmt::format("{}: {}", path.string(), manifest.error().message)};
  archive.manifest = std::move(*manifest);
  if (Status read = ReadText(path, folder / archive.manifest.spec_file, archive.manifest.spec_file,
                             max_spec_bytes, archive.specification);
      !read.ok()) {
    return read;
  }
  return archive;
}

}  // namespace serve
