#include "tests/wire/server_process.h"

#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace serve::wire {
namespace {

namespace fs = std::filesystem;

std::string ReadIfThere(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// Ours, without what would configure a server, and with `more`.
std::vector<std::string> ChildEnvironment(const Environment& more) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string name(text.substr(0, text.find('=')));
    const bool configures = name.starts_with("FLAMBEAU_") || name.starts_with("TS_") || name == "PORT";
    if (!configures && !more.contains(name)) entries.emplace_back(text);
  }
  for (const auto& [name, value] : more) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Ran RunToEnd(const std::vector<std::string>& args, const Environment& more, const std::string& input) {
  const TemporaryFolder folder;
  ChildProcess process(args, folder.path(), more, input);
  const std::optional<int> code = process.WaitForExit();
  if (!code) throw std::runtime_error(args[0] + " does not end: " + process.Err());
  return {*code, process.Out(), process.Err()};
}

}  // namespace

std::string ProgramPath() {
  const char* given = std::getenv("FLAMBEAU_PROGRAM");
  return given != nullptr && *given != '\0' ? given : WIRE_PROGRAM;
}

fs::path ModelFile(const std::string& name) { return fs::path(WIRE_MODELS) / name; }

bool WaitUntil(const std::function<bool()>& condition, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

ChildProcess::ChildProcess(const std::vector<std::string>& args, const fs::path& folder,
                           const Environment& more, const std::string& input)
    : folder_(folder) {
  std::ofstream(folder / "stdin.txt", std::ios::binary) << input;
  // All memory is taken before the fork: afterwards only system calls are safe.
  std::vector<std::string> words = args;
  std::vector<std::string> variables = ChildEnvironment(more);
  const std::vector<char*> argv = Pointers(words);
  const std::vector<char*> envp = Pointers(variables);
  const int in = open((folder / "stdin.txt").c_str(), O_RDONLY | O_CLOEXEC);
  const int out = open((folder / "stdout.txt").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const int err = open((folder / "stderr.txt").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    if (chdir(folder_.c_str()) == 0) execvpe(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  for (const int file : {in, out, err}) close(file);
  if (process_ < 0) throw std::runtime_error("cannot fork");
}

ChildProcess::~ChildProcess() {
  if (code_) return;
  Signal(SIGKILL);
  waitpid(process_, nullptr, 0);
}

void ChildProcess::Signal(int signal) const {
  if (!code_) kill(process_, signal);
}

std::optional<int> ChildProcess::WaitForExit(std::chrono::milliseconds patience) {
  const auto ended = [this] {
    if (code_) return true;
    int status = 0;
    if (waitpid(process_, &status, WNOHANG) != process_) return false;
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
  };
  WaitUntil(ended, patience);
  return code_;
}

std::string ChildProcess::Out() const { return ReadIfThere(folder_ / "stdout.txt"); }
std::string ChildProcess::Err() const { return ReadIfThere(folder_ / "stderr.txt"); }

Ran RunProgram(const std::vector<std::string>& args, const Environment& more, const std::string& input) {
  std::vector<std::string> words = {ProgramPath()};
  words.insert(words.end(), args.begin(), args.end());
  return RunToEnd(words, more, input);
}

Ran RunOther(const std::string& program, const std::vector<std::string>& args, const std::string& input) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), args.begin(), args.end());
  return RunToEnd(words, {}, input);
}

ServerProcess::ServerProcess(const Options& options) {
  fs::create_directories(store());
  fs::create_directories(folder_ / "tmp");
  std::vector<std::string> args = {
      ProgramPath(), "serve", "--port-file", (folder_ / "ports").string(), "--model-store", store().string()};
  if (options.pass_addresses) {
    for (const char* name : {"inference", "management", "metrics"}) {
      args.insert(args.end(), {std::string("--") + name + "-address", "http://127.0.0.1:0"});
    }
  }
  if (!options.models.empty()) {
    std::string list;
    for (const std::string& name : options.models) {
      AddModel(name.substr(name.find('=') + 1));  // `name=file` or `file`
      list += (list.empty() ? "" : ",") + name;
    }
    args.insert(args.end(), {"--models", list});
  }
  args.insert(args.end(), options.flags.begin(), options.flags.end());
  Environment environment = options.environment;
  environment.emplace("TMPDIR", (folder_ / "tmp").string());

  process_.emplace(args, folder_.path(), environment);
  const auto started = [&] {
    if (process_->WaitForExit(std::chrono::milliseconds(0))) return true;
    if (!options.wait_for_models) return fs::exists(folder_ / "ports");
    return process_->Out().find("Model server started.") != std::string::npos;
  };
  if (!WaitUntil(started)) throw std::runtime_error("the server does not start: " + Log());
  if (const auto code = process_->WaitForExit(std::chrono::milliseconds(0))) {
    throw std::runtime_error("the server ended with " + std::to_string(*code) + ": " + Log());
  }
  ReadPorts();
}

void ServerProcess::ReadPorts() {
  std::ifstream file(folder_ / "ports");
  for (std::string line; std::getline(file, line);) {
    const std::size_t equals = line.find('=');
    const int port = std::atoi(line.c_str() + equals + 1);
    const std::string name = line.substr(0, equals);
    if (name == "inference") inference_ = port;
    if (name == "management") management_ = port;
    if (name == "metrics") metrics_ = port;
  }
  if (inference_ == 0) throw std::runtime_error("the port file names no ports: " + Log());
}

void ServerProcess::AddModel(const std::string& name) const {
  fs::copy_file(ModelFile(name), store() / name, fs::copy_options::overwrite_existing);
}

std::vector<std::string> ServerProcess::Unpacked() const {
  std::vector<std::string> found;
  for (const std::string& name : Temporary()) {
    if (!name.starts_with("flambeau-")) continue;
    for (const std::string& inner : NamesIn(folder_ / "tmp" / name)) found.push_back(inner);
  }
  return found;
}

double ServerProcess::Metric(const std::string& name, const std::vector<std::string>& labels) const {
  std::istringstream lines(Get(metrics_, "/metrics").body);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + "{") && !line.starts_with(name + " ")) continue;
    bool all = true;
    for (const std::string& label : labels) all = all && line.find(label) != std::string::npos;
    if (all) sum += std::atof(line.c_str() + line.rfind(' '));
  }
  return sum;
}

std::optional<int> ServerProcess::Stop() {
  process_->Signal(SIGTERM);
  return process_->WaitForExit();
}

}  // namespace serve::wire
