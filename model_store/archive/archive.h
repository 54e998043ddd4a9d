#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model_store/archive/manifest.h"
#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"

namespace serve {

/// What an archive may cost before it is refused.
struct UnpackLimits {
  std::size_t max_entries = 10'000;
  std::uint64_t max_bytes = 8ULL << 30;        // of all unpacked files together
  std::uint64_t max_ratio = 1000;              // unpacked to packed bytes, looked at …
  std::uint64_t ratio_free_bytes = 64U << 20;  // … once this much was unpacked
  int max_depth = 16;                          // parts of a path
  /// Accept an archive without a manifest: TorchServe does when the register call names the model. The
  /// manifest is then the default one, and the serialized file the only .pt or .pt2 at the root, if there is
  /// exactly one.
  bool allow_missing_manifest = false;
};

/// An archive that lies open on the disk. Whoever holds it removes `folder` when `temporary` is set
/// (RemoveUnpacked).
struct UnpackedArchive {
  std::filesystem::path folder;  // of a bare .pt file: the folder that holds it
  std::filesystem::path
      serialized_file;  // folder / manifest.serialized_file; empty when the manifest names none
  Manifest manifest;
  bool has_manifest = false;
  bool bare_file = false;  // nothing but a .pt or .pt2 file
  bool temporary = false;  // unpacked by OpenArchive; false: the user's own files, used in place
};

/// Whether the file's name ends as OpenArchive asks for: .mar, .tar.gz, .tgz, .pt or .pt2.
bool HasArchiveName(const std::filesystem::path& path);

/// Opens a model archive: `.mar` (zip), `.tar.gz` / `.tgz` (everything under one top folder), a plain folder
/// of the same content (used in place; a single nested folder is descended into), or a bare `.pt` / `.pt2`
/// file.
///
/// Unpacking writes regular files (0600) into a fresh folder (0700, random name) below `into`, which is
/// created when it is missing. No entry leaves that folder: CheckEntryPath holds for every name, links and
/// devices are refused, so are names that come twice. After an error nothing is left behind.
///
/// Errors: kNotFound (no such path), kInvalidArgument (damaged, unsafe or over a limit: the text names
/// archive, entry and rule; or a bad manifest), kInternal (the disk). Threads: any; calls do not share
/// anything.
Result<UnpackedArchive> OpenArchive(const std::filesystem::path& path, const std::filesystem::path& into,
                                    const UnpackLimits& limits = {});

/// Removes the folder if it is a temporary one, and forgets it.
void RemoveUnpacked(UnpackedArchive& archive);

struct VerifyReport {
  bool has_digests = false;  // false: the archive was made without them; nothing could be verified
  std::size_t files = 0;
  std::uint64_t bytes = 0;
};

/// Compares every file with the manifest's digest. Errors: kInvalidArgument, naming each file that is
/// missing, of another size or digest, or present but not listed.
Result<VerifyReport> VerifyArchive(const UnpackedArchive& archive);

enum class ArchiveFormat : std::uint8_t {
  kDefault,    // <name>.mar, zip; what hardly shrinks is stored, the rest deflated
  kZipStore,   // <name>.mar, zip; nothing compressed
  kNoArchive,  // folder <name>
  kTgz,        // <name>.tar.gz, everything under <name>/
};

/// What goes into a new archive, in torch-model-archiver's terms. Empty: not given.
struct CreateOptions {
  std::string model_name;
  std::string version;
  std::filesystem::path serialized_file;
  std::string handler;  // a built-in name, or a file, which is then packed too
  std::filesystem::path model_file;
  std::vector<std::filesystem::path> extra_files;  // a folder's contents are merged into the root
  std::filesystem::path requirements_file;
  std::filesystem::path config_file;
  std::string runtime = "python";
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::map<std::string, std::string, std::less<>> handler_options;
  BatchRange batch;
  std::filesystem::path example_input;
  std::string example_content_type;         // empty: told by the file's name (ContentTypeOf)
  nlohmann::ordered_json lineage;           // null or an object
  std::filesystem::path export_path = ".";  // created when it is missing
  ArchiveFormat format = ArchiveFormat::kDefault;
  bool force = false;  // replace what is there
};

struct CreatedArchive {
  std::filesystem::path path;
  std::uint64_t size = 0;  // bytes; of a folder: of its files together
  std::string sha256;      // of the archive file; empty for a folder
};

/// Packs an archive. Equal input gives equal bytes: entries are sorted, the manifest comes last, times are
/// 1980-01-01, and `createdOn` follows SOURCE_DATE_EPOCH when that is set. The file gets its final name only
/// when it is complete and on the disk; a crash leaves at most a `.partial.<pid>` beside it. Errors:
/// kInvalidArgument, kNotFound (an input file), kConflict (the output exists and `force` is off), kInternal.
Result<CreatedArchive> CreateArchive(const CreateOptions& options);

/// The content type that a file's name tells: `.json`, `.txt`, `.csv`, `.jpg`, `.png`, …; else
/// `application/octet-stream`.
std::string ContentTypeOf(const std::filesystem::path& file);

/// What lies directly in the folder, sorted; empty when it cannot be read.
std::vector<std::filesystem::path> EntriesOf(const std::filesystem::path& folder);

}  // namespace serve
