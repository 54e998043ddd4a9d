#include "model_store/archive/manifest.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace serve {
namespace {

using Json = nlohmann::ordered_json;

bool IsAlphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/// "string", "array", …; with the value when it is short enough to help.
std::string Seen(const Json& value) {
  if (value.is_structured()) return fmt::format("an {}", value.type_name());
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "…";
  return text;
}

Status Expected(std::string_view key, std::string_view what, const Json* found) {
  if (found == nullptr) {
    return InvalidArgument(
        fmt::format("{}: the key \"{}\" is missing: expected {}", kManifestPath, key, what));
  }
  return InvalidArgument(
      fmt::format("{}: the key \"{}\" must be {}, found {}", kManifestPath, key, what, Seen(*found)));
}

/// The value, or nullptr when the key is absent or null.
const Json* Find(const Json& object, std::string_view key) {
  const auto found = object.find(std::string(key));
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// Reads an optional string; `scope` is the path of `object` ("model.").
Status ReadString(const Json& object, std::string_view scope, std::string_view key, std::string& out) {
  const Json* value = Find(object, key);
  if (value == nullptr) return {};
  if (!value->is_string()) return Expected(fmt::format("{}{}", scope, key), "a string", value);
  out = value->get<std::string>();
  return {};
}

/// Reads an optional file name: relative, inside the archive.
Status ReadFileName(const Json& object, std::string_view scope, std::string_view key, std::string& out) {
  if (Status read = ReadString(object, scope, key, out); !read.ok()) return read;
  if (out.empty()) return {};
  if (const Status check = CheckEntryPath(out); !check.ok()) {
    return InvalidArgument(fmt::format("{}: the key \"{}{}\": {}", kManifestPath, scope, key, check.message));
  }
  return {};
}

Status ReadObject(const Json& object, std::string_view scope, std::string_view key, Json& out) {
  const Json* value = Find(object, key);
  if (value == nullptr) return {};
  if (!value->is_object()) return Expected(fmt::format("{}{}", scope, key), "an object", value);
  out = *value;
  return {};
}

Status ReadModel(const Json& document, Manifest& manifest) {
  const Json* model = Find(document, "model");
  if (model == nullptr || !model->is_object()) return Expected("model", "an object", model);
  for (const auto& [key, field] :
       {std::pair{"modelName", &manifest.model_name}, std::pair{"handler", &manifest.handler},
        std::pair{"description", &manifest.description}}) {
    if (Status read = ReadString(*model, "model.", key, *field); !read.ok()) return read;
  }
  for (const auto& [key, field] :
       {std::pair{"serializedFile", &manifest.serialized_file}, std::pair{"modelFile", &manifest.model_file},
        std::pair{"requirementsFile", &manifest.requirements_file},
        std::pair{"configFile", &manifest.config_file}}) {
    if (Status read = ReadFileName(*model, "model.", key, *field); !read.ok()) return read;
  }
  if (const Json* version = Find(*model, "modelVersion")) {
    if (!version->is_string() && !version->is_number())
      return Expected("model.modelVersion", "a string", version);
    manifest.model_version = version->is_string() ? version->get<std::string>() : version->dump();
  }
  if (!manifest.model_name.empty()) {
    if (const Status check = CheckModelName(manifest.model_name); !check.ok()) {
      return InvalidArgument(
          fmt::format("{}: the key \"model.modelName\": {}", kManifestPath, check.message));
    }
  }
  if (const Status check = CheckModelVersion(manifest.model_version); !check.ok()) {
    return InvalidArgument(
        fmt::format("{}: the key \"model.modelVersion\": {}", kManifestPath, check.message));
  }
  return ReadObject(*model, "model.", "extensions", manifest.extensions);
}

Status ReadFiles(const Json& ours, Manifest& manifest) {
  const Json* files = Find(ours, "files");
  if (files == nullptr) return {};
  if (!files->is_object()) return Expected("flambeau.files", "an object", files);
  for (const auto& [path, entry] : files->items()) {
    const std::string scope = fmt::format("flambeau.files[\"{}\"]", path);
    if (const Status check = CheckEntryPath(path); !check.ok()) {
      return InvalidArgument(fmt::format("{}: the key \"flambeau.files\": {}", kManifestPath, check.message));
    }
    if (!entry.is_object()) return Expected(scope, "an object with sha256 and size", &entry);
    FileDigest digest;
    const Json* sha256 = Find(entry, "sha256");
    if (sha256 != nullptr && sha256->is_string()) digest.sha256 = sha256->get<std::string>();
    if (!IsSha256(digest.sha256)) {
      return Expected(scope + ".sha256", "64 lower-case hexadecimal digits", sha256);
    }
    const Json* size = Find(entry, "size");
    if (size == nullptr || !size->is_number_unsigned()) {
      return Expected(scope + ".size", "a number of bytes", size);
    }
    digest.size = size->get<std::uint64_t>();
    manifest.files.emplace(path, std::move(digest));
  }
  return {};
}

Status ReadSpecs(const Json& ours, std::string_view key, std::vector<TensorSpec>& out) {
  const Json* specs = Find(ours, key);
  if (specs == nullptr) return {};
  if (!specs->is_array()) return Expected(fmt::format("flambeau.{}", key), "an array", specs);
  for (const Json& item : *specs) {
    const std::string scope = fmt::format("flambeau.{}[{}]", key, out.size());
    if (!item.is_object()) return Expected(scope, "an object with name, dtype and shape", &item);
    TensorSpec spec;
    const Json* name = Find(item, "name");
    if (name == nullptr || !name->is_string()) return Expected(scope + ".name", "a string", name);
    spec.name = name->get<std::string>();
    const Json* dtype = Find(item, "dtype");
    const std::optional<DType> known =
        dtype != nullptr && dtype->is_string() ? ParseDType(dtype->get<std::string>()) : std::nullopt;
    if (!known) return Expected(scope + ".dtype", "a type such as float32 or int64", dtype);
    spec.dtype = *known;
    const Json* shape = Find(item, "shape");
    constexpr std::string_view kShape = "an array of sizes without the batch dimension (-1: any size)";
    if (shape == nullptr || !shape->is_array()) return Expected(scope + ".shape", kShape, shape);
    for (const Json& size : *shape) {
      if (!size.is_number_integer() || size.get<std::int64_t>() < -1) {
        return Expected(scope + ".shape", kShape, &size);
      }
      spec.shape.push_back(size.get<std::int64_t>());
    }
    out.push_back(std::move(spec));
  }
  return {};
}

Status ReadBatch(const Json& ours, BatchRange& out) {
  const Json* batch = Find(ours, "batch");
  if (batch == nullptr) return {};
  const auto rows = [batch](std::string_view key) {
    const Json* value = batch->is_object() ? Find(*batch, key) : nullptr;
    return value != nullptr && value->is_number_integer() ? value->get<std::int64_t>() : 0;
  };
  out = {rows("min"), rows("max")};
  if (out.min >= 1 && out.min <= out.max && out.max <= kMaxBatchRows) return {};
  return Expected("flambeau.batch", fmt::format("an object with 1 <= min <= max <= {}", kMaxBatchRows),
                  batch);
}

Status ReadHandlerOptions(const Json& ours, Manifest& manifest) {
  const Json* options = Find(ours, "handler_options");
  if (options == nullptr) return {};
  if (!options->is_object()) return Expected("flambeau.handler_options", "an object", options);
  for (const auto& [key, value] : options->items()) {
    if (!value.is_string() && !value.is_number() && !value.is_boolean()) {
      return Expected(fmt::format("flambeau.handler_options[\"{}\"]", key), "a text, number or boolean",
                      &value);
    }
    manifest.handler_options[key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return {};
}

Status ReadOurs(const Json& document, Manifest& manifest) {
  const Json* ours = Find(document, "flambeau");
  if (ours == nullptr) return {};
  if (!ours->is_object()) return Expected("flambeau", "an object", ours);
  if (const Json* format = Find(*ours, "format"); format != nullptr && *format != 1) {
    return Expected("flambeau.format", "1 (a newer one needs a newer flambeau)", format);
  }
  if (Status read = ReadFiles(*ours, manifest); !read.ok()) return read;
  if (Status read = ReadSpecs(*ours, "inputs", manifest.inputs); !read.ok()) return read;
  if (Status read = ReadSpecs(*ours, "outputs", manifest.outputs); !read.ok()) return read;
  if (Status read = ReadHandlerOptions(*ours, manifest); !read.ok()) return read;
  if (Status read = ReadBatch(*ours, manifest.batch); !read.ok()) return read;
  if (const Json* example = Find(*ours, "example_input")) {
    constexpr std::string_view kScope = "flambeau.example_input.";
    if (!example->is_object()) return Expected("flambeau.example_input", "an object with file", example);
    if (Status read = ReadFileName(*example, kScope, "file", manifest.example_input.file); !read.ok())
      return read;
    if (manifest.example_input.file.empty())
      return Expected("flambeau.example_input.file", "a file name", nullptr);
    std::string& content_type = manifest.example_input.content_type;
    if (Status read = ReadString(*example, kScope, "content_type", content_type); !read.ok()) return read;
  }
  return ReadObject(*ours, "flambeau.", "lineage", manifest.lineage);
}

Json SpecsJson(const std::vector<TensorSpec>& specs) {
  Json array = Json::array();
  for (const TensorSpec& spec : specs) {
    array.push_back({{"name", spec.name}, {"dtype", DTypeName(spec.dtype)}, {"shape", spec.shape}});
  }
  return array;
}

Json OursJson(const Manifest& manifest) {
  Json ours = Json::object();
  ours["format"] = 1;
  if (!manifest.files.empty()) {
    Json& files = ours["files"] = Json::object();
    for (const auto& [path, digest] : manifest.files) {
      files[path] = {{"sha256", digest.sha256}, {"size", digest.size}};
    }
  }
  if (!manifest.inputs.empty()) ours["inputs"] = SpecsJson(manifest.inputs);
  if (!manifest.outputs.empty()) ours["outputs"] = SpecsJson(manifest.outputs);
  if (!manifest.handler_options.empty()) ours["handler_options"] = manifest.handler_options;
  if (manifest.batch.declared()) ours["batch"] = {{"min", manifest.batch.min}, {"max", manifest.batch.max}};
  if (!manifest.example_input.file.empty()) {
    Json& example = ours["example_input"] = {{"file", manifest.example_input.file}};
    if (!manifest.example_input.content_type.empty())
      example["content_type"] = manifest.example_input.content_type;
  }
  if (!manifest.lineage.is_null()) ours["lineage"] = manifest.lineage;
  return ours;
}

/// How deep brackets nest; those inside of strings do not count.
int Depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Status ParseLimitedJson(std::string_view text, std::string_view what, nlohmann::ordered_json& out) {
  if (text.size() > kMaxManifestBytes) {
    return InvalidArgument(
        fmt::format("{}: {} bytes of JSON, allowed are {}", what, text.size(), kMaxManifestBytes));
  }
  if (const int depth = Depth(text); depth > kMaxManifestDepth) {
    return InvalidArgument(
        fmt::format("{}: JSON nested {} deep, allowed are {}", what, depth, kMaxManifestDepth));
  }
  try {
    out = Json::parse(text);
    return {};
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: …": the number is the library's
    // affair.
    std::string_view reason = error.what();
    if (const std::size_t end = reason.find("] "); reason.starts_with('[') && end != std::string_view::npos) {
      reason.remove_prefix(end + 2);
    }
    return InvalidArgument(fmt::format("{}: not valid JSON: {}", what, reason));
  }
}

Result<Manifest> ParseManifest(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Json document;
  if (Status parsed = ParseLimitedJson(text, kManifestPath, document); !parsed.ok()) return parsed;
  if (!document.is_object()) {
    return InvalidArgument(fmt::format("{}: expected an object, found {}", kManifestPath, Seen(document)));
  }
  Manifest manifest;
  for (const auto& [key, field] :
       {std::pair{"createdOn", &manifest.created_on}, std::pair{"runtime", &manifest.runtime},
        std::pair{"archiverVersion", &manifest.archiver_version}}) {
    if (Status read = ReadString(document, "", key, *field); !read.ok()) return read;
  }
  if (Status read = ReadModel(document, manifest); !read.ok()) return read;
  if (Status read = ReadOurs(document, manifest); !read.ok()) return read;
  return manifest;
}

std::string ManifestText(const Manifest& manifest) {
  Json document = Json::object();
  const auto put = [](Json& object, const char* key, const std::string& value) {
    if (!value.empty()) object[key] = value;
  };
  put(document, "createdOn", manifest.created_on);
  put(document, "runtime", manifest.runtime);
  Json model = Json::object();
  put(model, "modelName", manifest.model_name);
  put(model, "serializedFile", manifest.serialized_file);
  put(model, "handler", manifest.handler);
  put(model, "modelFile", manifest.model_file);
  put(model, "modelVersion", manifest.model_version);
  put(model, "requirementsFile", manifest.requirements_file);
  put(model, "configFile", manifest.config_file);
  put(model, "description", manifest.description);
  if (!manifest.extensions.is_null()) model["extensions"] = manifest.extensions;
  document["model"] = std::move(model);
  put(document, "archiverVersion", manifest.archiver_version);
  if (Json ours = OursJson(manifest); ours.size() > 1) document["flambeau"] = std::move(ours);
  return document.dump(2, ' ', false, Json::error_handler_t::replace);
}

Status CheckModelName(std::string_view name) {
  const auto allowed = [](char c) { return IsAlphanumeric(c) || c == '_' || c == '-' || c == '.'; };
  if (name.empty()) return InvalidArgument("Model name is not defined.");
  if (name.size() > 255) {
    return InvalidArgument(fmt::format("Model name has {} characters, allowed are 255.", name.size()));
  }
  if (IsAlphanumeric(name[0]) && std::all_of(name.begin(), name.end(), allowed)) return {};
  return InvalidArgument(
      "Model name contains special characters.\n"
      "The allowed regular expression filter for model name is: ^[A-Za-z0-9][A-Za-z0-9_\\-.]*$");
}

Status CheckModelVersion(std::string_view version) {
  const auto allowed = [](char c) { return c >= 0x20 && c < 0x7f && c != '/' && c != '\\'; };
  if (version.empty()) return InvalidArgument("Model version is not defined.");
  if (version.size() > 64) {
    return InvalidArgument(fmt::format("Model version has {} characters, allowed are 64.", version.size()));
  }
  if (version != "." && version != ".." && std::all_of(version.begin(), version.end(), allowed)) return {};
  return InvalidArgument(
      "Model version must be printable ASCII characters without \"/\" and \"\\\", such as 1.0 or "
      "2024-05-01.");
}

Status CheckEntryPath(std::string_view path, int max_depth) {
  const auto refuse = [path](std::string_view rule) {
    return InvalidArgument(
        fmt::format("the path {} {}", Json(path).dump(-1, ' ', true, Json::error_handler_t::replace), rule));
  };
  if (path.empty()) return InvalidArgument("a path is empty");
  if (path.size() > 1024) return refuse("is longer than 1024 bytes");
  if (path[0] == '/') return refuse("is absolute");
  if (path.size() > 1 && path[1] == ':') return refuse("begins with a drive letter");
  for (const char c : path) {
    if (c == '\\') return refuse("has a backslash");
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return refuse("has a control character");
  }
  int depth = 0;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part == "..") return refuse("leaves the archive by \"..\"");
    if (part.empty() || part == ".") return refuse("has an empty or \".\" part");
    if (part.size() > 255) return refuse("has a part longer than 255 bytes");
    if (++depth > max_depth) return refuse(fmt::format("is deeper than {} folders", max_depth));
    begin = end + 1;
  }
  return {};
}

}  // namespace serve
