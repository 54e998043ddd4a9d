#include "tools/archiver/archive_commands.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "model_store/archive/archive.h"
#include "serve/base/work_folder.h"
#include "tools/archiver/create_arguments.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// What the commands share.
struct Console {
  std::ostream& out;
  std::ostream& err;

  int Fail(const Status& status) const {
    err << "error: " << status.message << "\n";
    return 1;
  }
};

/// Removes an unpacked archive at the end of a command.
class Opened {
 public:
  static Result<std::unique_ptr<Opened>> Open(const fs::path& path, const fs::path& into) {
    Result<UnpackedArchive> archive = OpenArchive(path, into);
    if (!archive) return archive.error();
    return std::make_unique<Opened>(*std::move(archive));
  }
  explicit Opened(UnpackedArchive archive) : archive(std::move(archive)) {}
  ~Opened() { RemoveUnpacked(archive); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

  UnpackedArchive archive;
};

/// `create` as it was typed.
struct CreateArguments : CreateFiles {
  std::vector<std::string> handler_options;
  CreateOptions options;
  std::string example, lineage, batch;
  std::vector<std::string> extra_files, inputs, outputs;
};

Status ReadSpecs(const std::vector<std::string>& texts, std::string_view flag,
                 std::vector<TensorSpec>& specs) {
  for (const std::string& text : texts) {
    Result<TensorSpec> spec = ParseTensorSpec(text);
    if (!spec) return InvalidArgument(fmt::format("--{} {}: {}", flag, text, spec.error().message));
    specs.push_back(*std::move(spec));
  }
  return {};
}

Status ReadBatch(const std::string& text, BatchRange& batch) {
  if (text.empty()) return {};
  const Result<BatchRange> range = ParseBatchRange(text);
  if (!range) return InvalidArgument(fmt::format("--batch {}: {}", text, range.error().message));
  batch = *range;
  return {};
}

Status ReadLineage(const std::string& file, nlohmann::ordered_json& lineage) {
  if (file.empty()) return {};
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return {Code::kNotFound, fmt::format("--lineage {}: {}", file, std::strerror(errno))};
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (Status parsed = ParseLimitedJson(text, "--lineage " + file, lineage); !parsed.ok()) return parsed;
  if (!lineage.is_object()) return InvalidArgument(fmt::format("--lineage {}: expected a JSON object", file));
  return {};
}

Status ReadHandlerOptions(const std::vector<std::string>& typed, CreateOptions& options) {
  for (const std::string& option : typed) {
    const std::size_t equals = option.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return InvalidArgument(fmt::format("--handler-option {}: expected name=value", option));
    }
    options.handler_options[option.substr(0, equals)] = option.substr(equals + 1);
  }
  return {};
}

int RunCreate(CreateArguments& typed, const Console& console) {
  CreateOptions& options = typed.options;
  TakeFiles(typed, options);
  options.example_input = typed.example;
  for (const Status& status :
       {ReadExtraFiles(typed.extra_files, options.extra_files),
        ReadSpecs(typed.inputs, "input", options.inputs), ReadSpecs(typed.outputs, "output", options.outputs),
        ReadHandlerOptions(typed.handler_options, options), ReadBatch(typed.batch, options.batch),
        ReadLineage(typed.lineage, options.lineage)}) {
    if (!status.ok()) return console.Fail(status);
  }
  const Result<CreatedArchive> created = CreateArchive(options);
  if (!created) return console.Fail(created.error());
  console.out << fmt::format("path    {}\nsize    {}\n", created->path.string(), created->size);
  if (!created->sha256.empty()) console.out << fmt::format("sha256  {}\n", created->sha256);
  return 0;
}

std::string Summary(const UnpackedArchive& archive) {
  const Manifest& manifest = archive.manifest;
  std::string text;
  const auto line = [&text](std::string_view name, std::string_view value) {
    if (!value.empty()) text += fmt::format("{:<13} {}\n", name, value);
  };
  line("name", manifest.model_name);
  if (archive.has_manifest) line("version", manifest.model_version);
  line("description", manifest.description);
  line("handler", manifest.handler);
  line("serialized", manifest.serialized_file);
  line("model file", manifest.model_file);
  line("config", manifest.config_file);
  line("requirements", manifest.requirements_file);
  line("runtime", archive.has_manifest ? manifest.runtime : "");
  line("created on", manifest.created_on);
  line("archiver", manifest.archiver_version);
  for (const TensorSpec& spec : manifest.inputs) line("input", SpecText(spec));
  for (const TensorSpec& spec : manifest.outputs) line("output", SpecText(spec));
  for (const auto& [option, value] : manifest.handler_options) {
    line("option", fmt::format("{}={}", option, value));
  }
  if (manifest.batch.declared()) line("batch", BatchText(manifest.batch));
  if (!manifest.example_input.file.empty()) {
    line("example", fmt::format("{} ({})", manifest.example_input.file, manifest.example_input.content_type));
  }
  if (archive.bare_file) line("note", "a bare file: no manifest, no declared inputs, no digests");
  if (archive.has_manifest && manifest.files.empty())
    line("note", "no digests: the files cannot be verified");
  for (const auto& [path, digest] : manifest.files) {
    line("file", fmt::format("{}  {} bytes  sha256 {}", path, digest.size, digest.sha256));
  }
  if (!manifest.lineage.is_null()) {
    line("lineage", manifest.lineage.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }
  return text;
}

int RunInspect(const std::string& path, bool json, const Console& console) {
  const auto opened = Opened::Open(path, FolderOfTemporaryFiles());
  if (!opened) return console.Fail(opened.error());
  console.out << (json ? ManifestText((*opened)->archive.manifest) + "\n" : Summary((*opened)->archive));
  return 0;
}

int RunVerify(const std::string& path, const Console& console) {
  const auto opened = Opened::Open(path, FolderOfTemporaryFiles());
  if (!opened) return console.Fail(opened.error());
  const Result<VerifyReport> report = VerifyArchive((*opened)->archive);
  if (!report)
    return console.Fail({report.error().code, fmt::format("{}: {}", path, report.error().message)});
  if (report->has_digests) {
    console.out << fmt::format("ok: {} files, {} bytes match the manifest\n", report->files, report->bytes);
  } else {
    console.out << "nothing to verify: the archive lists no digests (only flambeau's own archives do)\n";
  }
  return 0;
}

/// Files that are unpacked for the user, not for the server, get the usual rights.
void OpenRights(const fs::path& folder) {
  const mode_t mask = umask(0);
  umask(mask);
  std::error_code error;
  const auto set = [&](const fs::path& path, mode_t rights) {
    fs::permissions(path, static_cast<fs::perms>(rights & ~mask), error);
  };
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    set(entry->path(), entry->is_directory(error) ? 0777 : 0666);
  }
  set(folder, 0777);
}

int RunExtract(const std::string& path, const std::string& to, const Console& console) {
  std::error_code error;
  const fs::path target = fs::absolute(fs::path(to) / "", error).parent_path();
  if (fs::exists(target, error) && !fs::is_empty(target, error)) {
    return console.Fail(
        {Code::kConflict, fmt::format("{} exists and is not empty; choose another folder", to)});
  }
  // Unpacked beside the target, so that a rename completes it: there is never a half folder under its name.
  const auto opened = Opened::Open(path, target.parent_path());
  if (!opened) return console.Fail(opened.error());
  UnpackedArchive& archive = (*opened)->archive;
  if (!archive.temporary) {
    return console.Fail(InvalidArgument(fmt::format("{}: is not packed; nothing to extract", path)));
  }
  if (const Result<VerifyReport> report = VerifyArchive(archive); !report) {
    return console.Fail({report.error().code, fmt::format("{}: {}", path, report.error().message)});
  }
  OpenRights(archive.folder);
  fs::rename(archive.folder, target, error);
  if (error) return console.Fail(Internal(fmt::format("cannot write {}: {}", to, error.message())));
  archive.temporary = false;
  console.out << fmt::format("path    {}\n", to);
  return 0;
}

void AddCreate(CLI::App& archive, const Console& console, int& exit_code) {
  CLI::App* create = archive.add_subcommand("create", "Pack a model and its files into an archive");
  auto typed = std::make_shared<CreateArguments>();
  CreateOptions& options = typed->options;
  create->add_option("--model-name", options.model_name, "Name of the model; the archive is called after it")
      ->required();
  create->add_option("-v,--version", options.version, "Version of the model, such as 1.0")->required();
  create->add_option("--serialized-file", typed->serialized_file, "The model itself: a .pt or .pt2 file");
  create->add_option("--model-file", typed->model_file, "Source of the model, kept beside it");
  create
      ->add_option("--handler", options.handler, "tensor, text_classifier, another built-in name, or a file")
      ->default_str("tensor");
  create
      ->add_option("--handler-option", typed->handler_options,
                   "An option of the handler, such as top_k=3; repeat (docs/handlers.md lists them)")
      ->allow_extra_args(false);
  create->add_option("--extra-files", typed->extra_files, "Comma list of files, wildcards and folders")
      ->allow_extra_args(false);
  create->add_option("--runtime", options.runtime, "Kept for TorchServe")
      ->check(CLI::IsMember({"python", "python3", "LSP"}))
      ->capture_default_str();
  create->add_option("--export-path", typed->export_path, "Folder of the archive; made when it is missing")
      ->capture_default_str();
  create
      ->add_option("--archive-format", typed->format,
                   "default, zip-store (.mar), tgz (.tar.gz) or no-archive (folder)")
      ->check(CLI::IsMember(FormatNames()))
      ->capture_default_str();
  create->add_flag("-f,--force", options.force, "Replace what is there");
  create->add_option("-r,--requirements-file", typed->requirements_file, "Kept for TorchServe");
  create->add_option("-c,--config-file", typed->config_file,
                     "Model configuration, such as model-config.yaml");
  create
      ->add_option("--input", typed->inputs,
                   "Declares an input: name:dtype:[shape without the batch]; repeat")
      ->allow_extra_args(false);
  create->add_option("--output", typed->outputs, "Declares an output, in the same form; repeat")
      ->allow_extra_args(false);
  create->add_option(
      "--batch", typed->batch,
      "Rows that one call of the model takes: 1..64, or 8 for no other number; a .pt2 needs it");
  create->add_option("--example", typed->example, "A file with one request; registering runs it as a check");
  create->add_option("--lineage", typed->lineage, "JSON file: where the model comes from");
  create->footer(
      "Example:\n  flambeau archive create --model-name mlp --version 1.0 --serialized-file mlp.pt \\\n"
      "      --handler tensor --input 'x:float32:[16]' --export-path model-store");
  create->callback([typed, console, &exit_code] {
    if (typed->options.handler.empty()) typed->options.handler = "tensor";
    exit_code = RunCreate(*typed, console);
  });
}

}  // namespace

void AddArchiveCommands(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code) {
  const Console console{out, err};
  CLI::App* archive = app.add_subcommand("archive", "Pack, show, verify and unpack model archives");
  archive->require_subcommand(1);
  AddCreate(*archive, console, exit_code);

  auto path = std::make_shared<std::string>();
  constexpr const char* kPath = "A .mar, .tar.gz, .tgz, .pt or .pt2 file, or a folder";
  CLI::App* inspect = archive->add_subcommand("inspect", "Show what an archive holds");
  inspect->add_option("path", *path, kPath)->required();
  auto json = std::make_shared<bool>(false);
  inspect->add_flag("--json", *json, "Print the manifest as JSON");
  inspect->footer("Example:\n  flambeau archive inspect model-store/mlp.mar");
  inspect->callback([=, &exit_code] { exit_code = RunInspect(*path, *json, console); });

  CLI::App* verify = archive->add_subcommand("verify", "Compare every file with the manifest's digests");
  verify->add_option("path", *path, kPath)->required();
  verify->footer("Example:\n  flambeau archive verify model-store/mlp.mar");
  verify->callback([=, &exit_code] { exit_code = RunVerify(*path, console); });

  CLI::App* extract = archive->add_subcommand("extract", "Verify an archive and unpack it");
  extract->add_option("path", *path, kPath)->required();
  auto to = std::make_shared<std::string>();
  extract->add_option("--to", *to, "Folder to make; if it exists it must be empty")->required();
  extract->footer("Example:\n  flambeau archive extract model-store/mlp.mar --to mlp");
  extract->callback([=, &exit_code] { exit_code = RunExtract(*path, *to, console); });
}

}  // namespace serve
