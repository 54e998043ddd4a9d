#include <fstream>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "model_store/archive/workflow_archive.h"
#include "serve/workflow/specification.h"
#include "tools/archiver/archive_commands.h"
#include "tools/archiver/create_arguments.h"

namespace serve {
namespace {

struct Typed {
  CreateWorkflowOptions options;
  std::string spec_file;
  std::string handler;
  std::string export_path = ".";
  std::vector<std::string> extra_files;
  int max_nodes = 64;
};

/// What the server would refuse is not packed.
Status CheckSpecification(const Typed& typed) {
  std::ifstream stream(typed.spec_file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream.is_open() || stream.bad())
    return {Code::kNotFound, fmt::format("cannot read {}", typed.spec_file)};
  const SpecificationLimits limits{.max_nodes = static_cast<std::size_t>(typed.max_nodes)};
  const Result<Specification> read = ParseSpecification(text, limits);
  if (read) return {};
  return {read.error().code, fmt::format("{}: {}", typed.spec_file, read.error().message)};
}

Result<CreatedArchive> Create(Typed& typed) {
  if (Status status = CheckSpecification(typed); !status.ok()) return status;
  typed.options.spec_file = typed.spec_file;
  typed.options.handler = typed.handler;
  typed.options.export_path = typed.export_path;
  if (Status status = ReadExtraFiles(typed.extra_files, typed.options.extra_files); !status.ok())
    return status;
  return CreateWorkflowArchive(typed.options);
}

}  // namespace

void AddWorkflowArchiveCommand(CLI::App& app, std::ostream& out, std::ostream& err, int& exit_code) {
  CLI::App* command = app.add_subcommand("workflow-archive", "Check a workflow's YAML file and pack it");
  auto typed = std::make_shared<Typed>();
  command
      ->add_option("--workflow-name", typed->options.workflow_name,
                   "Name of the workflow; the archive is called after it")
      ->required();
  command->add_option("--spec-file", typed->spec_file, "The YAML file: models, functions, dag")->required();
  command->add_option("--handler", typed->handler, "A Python file; packed for TorchServe, not used here");
  command->add_option("--extra-files", typed->extra_files, "Comma list of files, wildcards and folders")
      ->allow_extra_args(false);
  command->add_option("--export-path", typed->export_path, "Folder of the archive; made when it is missing")
      ->capture_default_str();
  command->add_option("--max-nodes", typed->max_nodes, "The server's max_workflow_nodes")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_flag("-f,--force", typed->options.force, "Replace what is there");
  command->footer(
      "Example:\n  flambeau workflow-archive --workflow-name review --spec-file review.yaml \\\n"
      "      --export-path model-store");
  command->callback([typed, &out, &err, &exit_code] {
    const Result<CreatedArchive> created = Create(*typed);
    if (!created) {
      err << "error: " << created.error().message << "\n";
      exit_code = 1;
      return;
    }
    out << fmt::format("path    {}\nsize    {}\nsha256  {}\n", created->path.string(), created->size,
                       created->sha256);
  });
}

}  // namespace serve
