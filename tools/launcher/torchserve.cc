#include "tools/launcher/torchserve.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <signal.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "serve/base/files.h"
#include "serve/config/properties.h"
#include "tools/launcher/pid_file.h"

namespace serve {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTorchServeVersion = "0.12.0";  // whose command line this is
constexpr std::chrono::seconds kStopPatience{60};

/// The command line as it was typed.
struct Typed {
  bool version = false, start = false, stop = false, foreground = false;
  bool no_snapshots = false, no_tokens = false, model_api = false;
  std::string ts_config, model_store, workflow_store, log_config, cpp_log_config, plugins_path;
  std::vector<std::string> models;
};

void Describe(CLI::App& app, Typed& typed) {
  CLI::Option_group* action = app.add_option_group("Action", "one of them; --start when none is given");
  action->add_flag("-v,--version", typed.version, "Print the version");
  action->add_flag("--start", typed.start, "Start the server; returns when it listens");
  action->add_flag("--stop", typed.stop, "Stop the server that was started");
  action->require_option(0, 1);
  app.add_flag("--foreground", typed.foreground,
               "With --start: be the server instead of starting it. With --stop: say nothing");
  app.add_option("--ts-config", typed.ts_config, "Configuration file");
  app.add_option("--model-store", typed.model_store, "Folder with the archives that may be registered");
  app.add_option("--workflow-store", typed.workflow_store, "Folder with workflow archives");
  app.add_option("--models", typed.models, "What is loaded: all, a.mar, name=a.mar; several words");
  app.add_option("--log-config", typed.log_config, "Accepted; the settings log_... say how is logged");
  app.add_option("--cpp-log-config", typed.cpp_log_config, "Accepted, likewise");
  app.add_flag("--ncs,--no-config-snapshots", typed.no_snapshots,
               "Neither note what is registered nor restore it");
  app.add_option("--ppath,--plugins-path", typed.plugins_path, "Accepted; there are no Java plugins");
  app.add_flag("--dt,--disable-token-auth", typed.no_tokens, "Ask nobody for a token");
  app.add_flag("--enable-model-api", typed.model_api, "Let the management API register and remove models");
  app.footer("Everything else is a setting of the configuration file: see flambeau serve --help.");
}

/// What `flambeau serve` is told: the same names, and it says what of them has no meaning.
std::vector<std::string> ServeArguments(const Typed& typed) {
  std::vector<std::string> args;
  const auto add = [&args](const char* flag, const std::string& value) {
    if (!value.empty()) args.push_back(fmt::format("{}={}", flag, value));
  };
  add("--config", typed.ts_config);
  add("--model-store", typed.model_store);
  add("--workflow-store", typed.workflow_store);
  add("--log-config", typed.log_config);
  add("--cpp-log-config", typed.cpp_log_config);
  add("--plugins-path", typed.plugins_path);
  std::string models;
  for (const std::string& model : typed.models) models += (models.empty() ? "" : ",") + model;
  add("--models", models);
  if (typed.no_snapshots) args.emplace_back("--ncs");
  if (typed.no_tokens) args.emplace_back("--disable-token-auth=true");
  if (typed.model_api) args.emplace_back("--enable-model-api=true");
  return args;
}

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Whether a flag, the environment or the configuration file names a model store.
bool NamesModelStore(const Typed& typed) {
  for (const std::string& store :
       {typed.model_store, Variable("FLAMBEAU_MODEL_STORE"), Variable("TS_MODEL_STORE")}) {
    if (!store.empty()) return true;
  }
  std::string file = "config.properties";
  for (const std::string& named :
       {typed.ts_config, Variable("FLAMBEAU_CONFIG_FILE"), Variable("TS_CONFIG_FILE")}) {
    if (named.empty()) continue;
    file = named;
    break;
  }
  const Result<std::string> text = ReadFile(file, kMostPropertiesBytes);
  if (!text) return text.error().code != Code::kNotFound;  // the server says why it cannot be read
  const Properties properties = ParseProperties(*text);
  return std::any_of(properties.entries.begin(), properties.entries.end(), [](const Property& property) {
    return property.key == "model_store" && !property.value.empty();
  });
}

/// Empty when the server may be started.
std::string WhatIsMissing(const Typed& typed) {
  std::error_code error;
  if (!typed.ts_config.empty() && !fs::exists(typed.ts_config, error)) {
    return "--ts-config file not found: " + typed.ts_config;
  }
  if (!typed.model_store.empty() && !fs::is_directory(typed.model_store, error)) {
    return "--model-store directory not found: " + typed.model_store;
  }
  if (!NamesModelStore(typed)) return "Missing mandatory parameter --model-store";
  return {};
}

int Stop(const Typed& typed, const ToolStreams& streams) {
  const fs::path file = PidFilePath();
  const pid_t pid = ReadPidFile(file);
  if (!IsServer(pid)) {
    RemovePidFile(file, pid);
    streams.out << "TorchServe is not currently running.\n";
    return kToolDone;
  }
  if (kill(pid, SIGTERM) != 0) {
    streams.err << fmt::format("error: cannot stop process {}: {}\n", pid, std::strerror(errno));
    return kToolFailed;
  }
  const auto latest = std::chrono::steady_clock::now() + kStopPatience;
  while (IsServer(pid)) {
    if (std::chrono::steady_clock::now() > latest) {
      streams.out << "Stopping TorchServe took too long.\n";
      return kToolFailed;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  RemovePidFile(file, pid);
  if (!typed.foreground) streams.out << "TorchServe has stopped.\n";
  return kToolDone;
}

int AlreadyRunning(const ToolStreams& streams) {
  streams.out << "TorchServe is already running, please use torchserve --stop to stop TorchServe.\n";
  return kToolFailed;
}

/// Runs the server in this process, which the pid file names meanwhile.
int Serve(const std::vector<std::string>& args, const fs::path& pid_file, const ToolStreams& streams,
          const ServeFunction& serve, const std::function<void()>& listening) {
  if (const Status written = WritePidFile(pid_file); !written.ok()) {
    if (written.code == Code::kConflict) return AlreadyRunning(streams);  // started at the same moment
    streams.err << "error: " << written.message << "\n";
    return kToolFailed;
  }
  streams.out.flush();
  const int code = serve(args, listening);
  RemovePidFile(pid_file, getpid());
  return code;
}

int StartInBackground(const std::vector<std::string>& args, const fs::path& pid_file,
                      const ToolStreams& streams, const ServeFunction& serve) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) {
    streams.err << "error: cannot make a pipe: " << std::strerror(errno) << "\n";
    return kToolFailed;
  }
  streams.out.flush();
  streams.err.flush();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) {
    streams.err << "error: cannot start a process: " << std::strerror(errno) << "\n";
    return kToolFailed;
  }
  if (child == 0) {
    close(ready[0]);
    setsid();  // what the terminal does to its own processes is nothing to the server
    if (const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC); nothing >= 0)
      dup2(nothing, STDIN_FILENO);
    const int code = Serve(args, pid_file, streams, serve, [&ready] {
      [[maybe_unused]] const ssize_t sent = write(ready[1], "1", 1);
      close(ready[1]);
    });
    streams.out.flush();
    std::exit(code);
  }
  close(ready[1]);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = read(ready[0], &byte, 1);
  } while (got < 0 && errno == EINTR);
  close(ready[0]);
  if (got == 1) return kToolDone;
  int status = 0;
  waitpid(child, &status, 0);  // it has said why
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (WIFSIGNALED(status)) streams.err << "error: the server was ended by signal " << code - 128 << "\n";
  return code == 0 ? kToolFailed : code;
}

int Start(const Typed& typed, const ToolStreams& streams, const ServeFunction& serve) {
  const fs::path pid_file = PidFilePath();
  if (IsServer(ReadPidFile(pid_file))) return AlreadyRunning(streams);
  std::error_code error;
  if (fs::exists(pid_file, error)) {
    streams.out << "Removing orphan pid file.\n";
    fs::remove(pid_file, error);
  }
  if (const std::string missing = WhatIsMissing(typed); !missing.empty()) {
    streams.out << missing << "\n";
    return kToolFailed;
  }
  const std::vector<std::string> args = ServeArguments(typed);
  if (typed.foreground) return Serve(args, pid_file, streams, serve, [] {});
  return StartInBackground(args, pid_file, streams, serve);
}

}  // namespace

int RunTorchserve(const std::vector<std::string>& args, const ToolStreams& streams,
                  const ServeFunction& serve) {
  Typed typed;
  CLI::App app("Starts and stops the server as TorchServe's launcher does", "torchserve");
  Describe(app, typed);
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help, streams.out, streams.err);
  } catch (const CLI::ParseError& error) {
    streams.err << "usage: torchserve [-h] [-v | --start | --stop] [OPTION]...\ntorchserve: error: "
                << error.what() << "\n";
    return kToolUsage;
  }
  if (typed.version) {
    streams.out << fmt::format("TorchServe Version is {}\n", kTorchServeVersion)
                << fmt::format("(its interface, served by Flambeau {})\n", FLAMBEAU_VERSION);
    return kToolDone;
  }
  return typed.stop ? Stop(typed, streams) : Start(typed, streams, serve);
}

}  // namespace serve
