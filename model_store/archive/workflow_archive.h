#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "model_store/archive/archive.h"
#include "serve/base/status.h"

namespace serve {

inline constexpr std::string_view kWorkflowManifestPath = "WAR-INF/MANIFEST.json";

/// `WAR-INF/MANIFEST.json` of a workflow archive, in TorchServe's keys.
struct WorkflowManifest {
  std::string created_on;
  std::string archiver_version;
  std::string workflow_name;  // may be empty: a register call can give the name
  std::string spec_file;      // path inside the archive
  std::string handler;        // a Python file; kept and not used

  bool operator==(const WorkflowManifest&) const = default;
};

/// Errors: kInvalidArgument, naming the key and what was expected.
Result<WorkflowManifest> ParseWorkflowManifest(std::string_view text);
std::string WorkflowManifestText(const WorkflowManifest& manifest);

/// What the server needs of a workflow archive.
struct WorkflowArchive {
  WorkflowManifest manifest;
  std::string specification;  // the text of the manifest's spec_file
};

/// Reads a `.war` file (zip; files at the root) or a folder of the same content. A file is unpacked below
/// `into` under the rules of OpenArchive, read, and removed again. `max_spec_bytes`: a larger specification
/// is refused. Errors: as OpenArchive.
Result<WorkflowArchive> ReadWorkflowArchive(const std::filesystem::path& path,
                                            const std::filesystem::path& into, const UnpackLimits& limits,
                                            std::size_t max_spec_bytes);

/// What goes into a workflow archive, in torch-workflow-archiver's terms. Empty: not given.
struct CreateWorkflowOptions {
  std::string workflow_name;
  std::filesystem::path spec_file;
  std::filesystem::path handler;                   // a file, which is packed and not used
  std::vector<std::filesystem::path> extra_files;  // a folder's contents are merged into the root
  std::filesystem::path export_path = ".";         // created when it is missing
  bool force = false;                              // replace what is there
};

/// Packs `<workflow_name>.war`; everything as CreateArchive does. The specification is the caller's to check.
Result<CreatedArchive> CreateWorkflowArchive(const CreateWorkflowOptions& options);

}  // namespace serve
