#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "tests/model_store/archive/test_files.h"
#include "tests/wire/wire_client.h"

namespace serve::wire {

/// The program under test: $FLAMBEAU_PROGRAM, else the one of this build.
std::string ProgramPath();
/// A model that wire_make_models wrote.
std::filesystem::path ModelFile(const std::string& name);

/// Asks again every few milliseconds; false when it never became true within `patience`.
bool WaitUntil(const std::function<bool()>& condition, std::chrono::milliseconds patience = kPatience);

using Environment = std::map<std::string, std::string>;

/// A child process of the program, its output in files. Killed with the object, and with us.
class ChildProcess {
 public:
  /// `folder`: its working folder and the place of stdout.txt and stderr.txt. What the environment of the
  /// tests says to Flambeau (FLAMBEAU_…, TS_…, PORT) does not reach it; `more` is added.
  ChildProcess(const std::vector<std::string>& args, const std::filesystem::path& folder,
               const Environment& more = {}, const std::string& input = {});
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  [[nodiscard]] pid_t id() const { return process_; }
  void Signal(int signal) const;
  /// Exit code, 128 + signal when a signal ended it; nullopt when it still runs after `patience`.
  std::optional<int> WaitForExit(std::chrono::milliseconds patience = kPatience);
  [[nodiscard]] std::string Out() const;
  [[nodiscard]] std::string Err() const;

 private:
  const std::filesystem::path folder_;
  pid_t process_ = -1;
  std::optional<int> code_;
};

/// What a run of the program to its end left behind.
struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};
Ran RunProgram(const std::vector<std::string>& args, const Environment& more = {},
               const std::string& input = {});
/// Any other program, found in PATH.
Ran RunOther(const std::string& program, const std::vector<std::string>& args, const std::string& input);

/// `flambeau serve` on three ports that the kernel chose, with a model store, a working folder and a TMPDIR
/// of its own. It has loaded its models when the constructor returns.
///
/// Errors: std::runtime_error with the program's log when it does not start.
class ServerProcess {
 public:
  struct Options {
    std::vector<std::string>
        models;  // of wire_make_models; each is copied to the store and loaded with one worker
    std::vector<std::string> flags;
    Environment environment;
    bool pass_addresses = true;   // off: the flags or the environment say where to listen
    bool wait_for_models = true;  // off: the constructor returns when the ports are open
  };
  explicit ServerProcess(const Options& options);

  [[nodiscard]] int inference() const { return inference_; }
  [[nodiscard]] int management() const { return management_; }
  [[nodiscard]] int metrics() const { return metrics_; }
  [[nodiscard]] std::filesystem::path store() const { return folder_ / "store"; }
  /// Copies a model of wire_make_models to the store.
  void AddModel(const std::string& name) const;
  /// Files and folders that unpacked archives have left under TMPDIR.
  [[nodiscard]] std::vector<std::string> Unpacked() const;
  /// Everything under TMPDIR.
  [[nodiscard]] std::vector<std::string> Temporary() const { return NamesIn(folder_ / "tmp"); }

  /// The value of one sample, e.g. `flambeau_rejections_total{model_name="a",…}`, by name and parts of its
  /// labels; 0 when there is none. Several samples are added up.
  [[nodiscard]] double Metric(const std::string& name, const std::vector<std::string>& labels = {}) const;

  [[nodiscard]] std::string Log() const { return process_->Err() + process_->Out(); }
  ChildProcess& process() { return *process_; }
  /// SIGTERM, then the exit code.
  std::optional<int> Stop();

 private:
  void ReadPorts();

  TemporaryFolder folder_;
  std::optional<ChildProcess> process_;
  int inference_ = 0;
  int management_ = 0;
  int metrics_ = 0;
};

}  // namespace serve::wire
