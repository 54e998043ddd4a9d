#include "tools/cli/commands.h"

#include <algorithm>
#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "tools/archiver/archive_commands.h"
#include "tools/cli/api_client.h"
#include "tools/cli/baseline_commands.h"
#include "tools/cli/fetch_command.h"
#include "tools/cli/runs_commands.h"
#include "tools/cli/server_commands.h"

namespace serve {

int RunTool(const std::vector<std::string>& args, const ToolStreams& streams) {
  int exit_code = kToolDone;
  ToolOptions options;
  const ApiClient client(options, streams);
  CLI::App app("Flambeau, a model server for PyTorch models", "flambeau");
  app.set_version_flag("--version", "flambeau " FLAMBEAU_VERSION);
  app.require_subcommand(1);
  app.fallthrough();  // `flambeau models list --json` means the same as `flambeau --json models list`
  app.add_option("--management", options.management, "URL of the management API")
      ->envname("FLAMBEAU_MANAGEMENT_URL")
      ->capture_default_str();
  app.add_option("--inference", options.inference, "URL of the inference API")
      ->envname("FLAMBEAU_INFERENCE_URL")
      ->capture_default_str();
  app.add_option("--token", options.token,
                 "Key that the server asks for; see its disable_token_authorization")
      ->envname("FLAMBEAU_TOKEN");
  app.add_option("--key-file", options.key_file,
                 "File with keys that the server made [key_file.json if it exists]")
      ->envname("FLAMBEAU_KEY_FILE");
  app.add_option("--ca-file", options.tls.ca_file,
                 "Certificates to trust for https URLs, PEM [those of the system]")
      ->envname("FLAMBEAU_CA_FILE");
  app.add_flag_callback(
      "--insecure-tls,-k", [&options] { options.tls.verify = false; },
      "Believe any server that an https URL leads to; for a try");
  app.add_option("--certificate", options.tls.certificate,
                 "Certificate to show to a server that asks for one, PEM")
      ->envname("FLAMBEAU_CERTIFICATE");
  app.add_option("--private-key", options.tls.key, "Its key, PEM")->envname("FLAMBEAU_PRIVATE_KEY");
  app.add_flag("--json", options.json, "Print the server's JSON as it is, for scripts");
  app.add_option("--timeout", options.timeout_s, "Seconds to wait for an answer")
      ->check(CLI::Range(0.001, 86'400.0))
      ->capture_default_str();

  // The main program takes these before it comes here; they stand here for --help.
  for (const auto& [name, help] :
       {std::pair("serve", "Run the server: see flambeau serve --help"),
        std::pair("doctor", "Look at the place where a server would run: see flambeau doctor --help")}) {
    CLI::App* command = app.add_subcommand(name, help);
    command->allow_extras();
    command->callback([&streams, &exit_code, word = std::string(name)] {
      streams.err << "error: `" << word << "` must be the first word: flambeau " << word << " ...\n";
      exit_code = kToolUsage;
    });
  }
  AddModelsCommands(app, client, exit_code);
  AddWorkflowsCommands(app, client, exit_code);
  AddTrafficCommands(app, client, exit_code);
  AddPredictCommand(app, client, exit_code);
  AddPingCommand(app, client, exit_code);
  AddStatusCommand(app, client, exit_code);
  AddFetchCommand(app, streams.out, streams.err, exit_code);
  AddArchiveCommands(app, streams.out, streams.err, exit_code);
  AddWorkflowArchiveCommand(app, streams.out, streams.err, exit_code);
  AddRunsCommands(app, client, exit_code);
  AddBaselineCommands(app, client, exit_code);
  AddShellCommands(app, client, exit_code);
  app.footer(
      "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection to the server.\n"
      "Each command has its own --help, with an example.\n"
      "Called as torchserve or torch-model-archiver (links to this program, or the first word) it takes the "
      "command lines of TorchServe's own programs.");

  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, streams.out, streams.err) == 0 ? kToolDone : kToolUsage;
  } catch (const std::exception& error) {  // out of memory, say; never a reason to die without a word
    streams.err << "error: " << error.what() << "\n";
    return kToolFailed;
  }
  streams.out.flush();
  if (exit_code == kToolDone && !streams.out) {
    streams.err << "error: the output could not be written\n";
    return kToolFailed;
  }
  return exit_code;
}

int RunTool(int argc, char** argv) {
  return RunTool(std::vector<std::string>(argv + std::min(argc, 1), argv + argc),
                 {std::cin, std::cout, std::cerr});
}

}  // namespace serve
