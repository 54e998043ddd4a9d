#include "tools/archiver/model_archiver.h"

#include <exception>
#include <filesystem>
#include <ostream>
#include <string_view>
#include <system_error>

#include <CLI/CLI.hpp>

#include "model_store/archive/archive.h"
#include "tools/archiver/create_arguments.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

/// The command line as it was typed.
struct Typed : CreateFiles {
  CreateOptions options;
  std::string extra_files;
};

void Describe(CLI::App& app, Typed& typed) {
  CreateOptions& options = typed.options;
  app.add_option("--model-name", options.model_name, "Name of the model and of its archive")->required();
  app.add_option("-v,--version", options.version, "Version of the model")->required();
  app.add_option("--handler", options.handler, "A built-in handler, or a Python file")->required();
  app.add_option("--serialized-file", typed.serialized_file, "The model: a .pt, .pth or .pt2 file");
  app.add_option("--model-file", typed.model_file, "Python source of an eager model");
  app.add_option("--extra-files", typed.extra_files, "Comma list of files, wildcards and folders");
  app.add_option("--runtime", options.runtime)
      ->check(CLI::IsMember({"python", "python3", "LSP"}))
      ->capture_default_str();
  app.add_option("--export-path", typed.export_path, "Folder of the archive; made when it is missing");
  app.add_option("--archive-format", typed.format)
      ->check(CLI::IsMember(FormatNames()))
      ->capture_default_str();
  app.add_flag("-f,--force", options.force, "Replace an archive of this name");
  app.add_option("-r,--requirements-file", typed.requirements_file, "Python packages of the handler");
  app.add_option("-c,--config-file", typed.config_file, "model-config.yaml");
  app.footer("flambeau archive create does the same, and can declare inputs, options and an example.");
}

/// Whether the handler is a file of the user's, which CreateArchive packs.
bool IsPythonFile(const std::string& handler) {
  const std::string file = handler.substr(0, handler.find(':'));
  std::error_code error;
  return file.ends_with(".py") || file.find('/') != std::string::npos ||
         fs::is_regular_file(file + ".py", error);
}

void Warn(const Typed& typed, std::ostream& err) {
  if (IsPythonFile(typed.options.handler)) {
    err << "WARNING - the handler " << typed.options.handler
        << " is Python code: it is packed, but Flambeau does not run it; register the archive with "
           "&handler= and a built-in one\n";
  }
  if (!typed.model_file.empty()) {
    err << "WARNING - " << typed.model_file
        << " makes an eager model: it is packed, but Flambeau serves TorchScript (torch.jit.script) and "
           ".pt2 files\n";
  }
  if (typed.serialized_file.empty()) {
    err << "WARNING - without --serialized-file there is nothing that Flambeau could serve\n";
  }
}

}  // namespace

int RunModelArchiver(const std::vector<std::string>& args, std::ostream& out, std::ostream& err) {
  Typed typed;
  CLI::App app("Packs a model into an archive, as torch-model-archiver does", "torch-model-archiver");
  Describe(app, typed);
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help, out, err);
  } catch (const CLI::ParseError& error) {
    err << "usage: torch-model-archiver [-h] --model-name NAME --version VERSION --handler HANDLER "
           "[OPTION]...\ntorch-model-archiver: error: "
        << error.what() << "\n";
    return 2;
  }
  CreateOptions& options = typed.options;
  TakeFiles(typed, options);
  const auto fail = [&err](std::string_view text) {
    err << "ERROR - " << text << "\n";
    return 1;
  };
  try {
    if (const Status read = ReadExtraFiles({typed.extra_files}, options.extra_files); !read.ok())
      return fail(read.message);
    if (const Result<CreatedArchive> created = CreateArchive(options); !created)
      return fail(created.error().message);
  } catch (const std::exception& error) {  // out of memory, say; never a reason to die without a word
    return fail(error.what());
  }
  Warn(typed, err);
  return 0;
}

}  // namespace serve
