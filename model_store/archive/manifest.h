#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "model_store/archive/sha256.h"
#include "serve/base/status.h"
#include "serve/base/tensor_spec.h"

namespace serve {

inline constexpr std::string_view kManifestPath = "MAR-INF/MANIFEST.json";
inline constexpr std::size_t kMaxManifestBytes = 1024 * 1024;
inline constexpr int kMaxManifestDepth = 64;

/// A request that the model understands, as a file of the archive: the server's sanity check sends it.
struct ExampleInput {
  std::string file;  // path inside the archive; empty: none
  std::string content_type;

  bool operator==(const ExampleInput&) const = default;
};

/// `MAR-INF/MANIFEST.json`: TorchServe's keys, and ours under the one key `flambeau`.
///
/// Strings are empty where the manifest says nothing, except for `runtime` (python) and `model_version`
/// (1.0), which get TorchServe's defaults. File names are relative to the archive's root.
struct Manifest {
  std::string created_on;  // "27/03/2025 10:11:12"
  std::string runtime = "python";
  std::string archiver_version;

  std::string model_name;  // may be empty: a register call can give the name
  std::string model_version = "1.0";
  std::string serialized_file;
  std::string handler;
  std::string model_file;
  std::string requirements_file;
  std::string config_file;
  std::string description;
  nlohmann::ordered_json extensions;  // null when there is none

  std::map<std::string, FileDigest> files;  // every file but the manifest; empty: an archive without digests
  std::vector<TensorSpec> inputs;           // empty: undeclared
  std::vector<TensorSpec> outputs;
  std::map<std::string, std::string, std::less<>> handler_options;  // e.g. top_k: "3"
  BatchRange batch;                                                 // rows that the model takes in one call
  ExampleInput example_input;
  nlohmann::ordered_json lineage;  // where the model comes from: any object; null when there is none

  bool operator==(const Manifest&) const = default;
};

/// Reads a manifest; unknown keys are ignored. Errors: kInvalidArgument, naming the key, what was expected
/// and what was found. No exception leaves it; text above kMaxManifestBytes or nested deeper than
/// kMaxManifestDepth is refused.
Result<Manifest> ParseManifest(std::string_view text);

/// The same as JSON: two spaces, TorchServe's order of keys, keys without a value left out.
std::string ManifestText(const Manifest& manifest);

/// `^[A-Za-z0-9][A-Za-z0-9_\-.]*$`, at most 255 characters. The error is torch-model-archiver's text.
Status CheckModelName(std::string_view name);
/// 1 to 64 printable ASCII characters without a blank, `/` or `\`.
Status CheckModelVersion(std::string_view version);
/// Whether `path` can name a file inside an archive: relative, no empty, `.` or `..` part, no backslash,
/// colon-drive or control character, parts of at most 255 bytes, at most `max_depth` parts. The error says
/// which rule it breaks.
Status CheckEntryPath(std::string_view path, int max_depth = 16);

/// Reads any JSON text under the two limits above into `out`; `what` begins the error. (A Result cannot hold
/// a JSON value: nlohmann's converts to everything, also to a Status.)
Status ParseLimitedJson(std::string_view text, std::string_view what, nlohmann::ordered_json& out);

}  // namespace serve
