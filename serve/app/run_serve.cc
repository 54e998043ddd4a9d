#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <optional>
#include <signal.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "serve/app/server.h"
#include "serve/base/log.h"
#include "serve/base/log_line.h"
#include "serve/config/config.h"

namespace serve {
namespace {

/// SIGTERM and SIGINT are taken by sigwait on the main thread; blocked here before any other thread starts,
/// so that none of them gets one.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);  // a client that went away is an error of one write
  return signals;
}

constexpr const char* kStarted = "Model server started.";

[[noreturn]] void EndNow(int code) {
  StopLogging();
  std::fflush(nullptr);
  std::_Exit(code);  // a stuck worker or an impatient operator: destructors would wait
}

/// Waits for `work`, for a stop signal or for `deadline`, whichever comes first; 0 when it was no signal.
template <class T>
int WaitForSignal(const std::future<T>& work, const sigset_t& signals,
                  TimePoint deadline = TimePoint::max()) {
  while (work.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready &&
         SteadyClock::now() < deadline) {
    const timespec pause{0, 5'000'000};
    if (const int signal = sigtimedwait(&signals, nullptr, &pause); signal > 0) return signal;
  }
  return 0;
}

}  // namespace

int RunServe(const std::vector<std::string>& args, const MakeRuntimes& runtimes,
             const std::function<void()>& listening) {
  const ParsedConfig config = ParseConfig(args, ProcessEnvironment());
  using Action = ParsedConfig::Action;
  if (config.action == Action::kHelp) {
    std::fputs(HelpText().c_str(), stdout);
    return 0;
  }
  if (config.action == Action::kVersion) {
    std::printf("flambeau %s\n", FLAMBEAU_VERSION);
    return 0;
  }
  if (config.action == Action::kCheckConfig) {
    std::fputs(CheckReport(config).c_str(), stdout);
    return CheckExitCode(config);
  }
  if (!config.errors.empty()) {
    for (const std::string& error : config.errors) fmt::print(stderr, "error: {}\n", error);
    fmt::print(stderr,
               "`flambeau serve --help` lists every setting, `flambeau serve --check-config …` the effective "
               "ones.\n");
    return config.usage_error ? 2 : 1;
  }

  const sigset_t signals = BlockStopSignals();
  StartLogging(config.options.log);
  LogInfo("Flambeau {}", FLAMBEAU_VERSION);
  for (const std::string& note : config.notes) LogInfo("{}", note);
  for (const std::string& warning : config.warnings) LogWarning("{}", warning);
  for (const std::string& unknown : config.unknown_keys) LogWarning("{}; it is ignored", unknown);

  AppOptions options = config.options;
  options.search_command = {"/proc/self/exe", "search-variants", std::to_string(getpid())};
  std::optional<Server> server(std::in_place, std::move(options), runtimes());
  if (const Status started = server->Start(); !started.ok()) {
    LogError("{}", started.message);
    StopLogging();
    fmt::print(stderr, "error: {}\n", started.message);
    return 1;
  }
  if (listening) listening();
  // Loading may take long, and a stop signal must not wait for it.
  std::future<std::size_t> loading = std::async(std::launch::async, [&] { return server->LoadModels(); });
  int signal = WaitForSignal(loading, signals);
  const bool failed = signal == 0 && config.options.exit_on_load_failure && loading.get() > 0;
  if (failed) {
    LogError("Ending, as exit_on_load_failure says: not every model could be loaded.");
  } else if (signal == 0) {
    // TorchServe's line: tools and tests wait for its text.
    if (CurrentLogFormat() == LogFormat::kJson) {
      std::string line;
      AppendLogLine(line, LogFormat::kJson, LogLevel::kInfo, std::chrono::system_clock::now(), kStarted);
      std::fputs(line.c_str(), stdout);
    } else {
      std::puts(kStarted);
    }
    std::fflush(stdout);
    sigwait(&signals, &signal);
  }
  if (!failed) {
    LogInfo("Signal {}: finishing accepted requests within {} s.", signal, config.options.grace.count());
  }
  std::future<bool> stopping = std::async(std::launch::async, [&] { return server->Stop(); });
  // Stop keeps to the grace period by itself, unless a model holds a thread that it needs; traces take their
  // second after it.
  const TimePoint latest = SteadyClock::now() + config.options.grace + std::chrono::milliseconds(1500);
  if (const int second = WaitForSignal(stopping, signals, latest); second > 0) {
    LogWarning("Second signal: ending at once.");
    server->RemoveUnpackedFiles();
    EndNow(128 + second);
  }
  const bool complete =
      stopping.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready && stopping.get();
  if (!complete) LogWarning("The grace period is over; requests that were still running were cut off.");
  const bool still_loading =
      loading.valid() && loading.wait_for(std::chrono::milliseconds(0)) != std::future_status::ready;
  // A destructor would wait for a model that still runs, loads or is timed.
  if (!complete || still_loading || server->Busy()) {
    server->RemoveUnpackedFiles();
    EndNow(complete && !failed ? 0 : 1);
  }
  LogInfo("Stopped.");
  server.reset();
  StopLogging();
  return failed ? 1 : 0;
}

}  // namespace serve
