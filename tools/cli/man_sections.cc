#include "tools/cli/man_sections.h"

namespace serve {
namespace {

constexpr ManSection kSections[] = {
    {"", "FILES", "key_file.json",
     "Keys that a server with tokens made. Read from the working folder when no key is named."},
    {"", "FILES", "config.properties", "Settings of the server; see flambeau-serve(1)."},
    {"serve", "FILES", "config.properties",
     "Read from the working folder when --config names no other file. One KEY=VALUE a line, as TorchServe "
     "writes it; $$NAME$$ in a value is the environment variable NAME."},
    {"serve", "FILES", "MODEL_STORE/.snapshots",
     "What was registered, for the next start. Folder of the setting snapshot_folder."},
    {"serve", "FILES", "MODEL_STORE/.tuning", "How each model runs fastest on this machine."},
    {"serve", "FILES", "MODEL_STORE/.cache", "Models that were fetched, by their content."},
    {"serve", "FILES", "key_file.json", "Short-lived keys, mode 0600, when tokens are on."},
    {"serve", "FILES", "logs/access_log.log, ts_log.log",
     "With log_files=true or LOG_LOCATION; otherwise the log goes to standard error and the access log to "
     "standard output."},
    {"serve", "EXIT STATUS", "0", "Stopped by SIGTERM or SIGINT; every accepted request was answered."},
    {"serve", "EXIT STATUS", "1",
     "It could not start, or the grace period ended before all requests were answered."},
    {"serve", "EXIT STATUS", "2", "Wrong usage."},
    {"serve", "EXIT STATUS", "128 + N", "A second signal N ended it at once."},
    {"serve", "SIGNALS", "SIGTERM, SIGINT",
     "No more connections; /ping says 503; accepted requests are finished within the grace period."},
    {"serve", "ENVIRONMENT", "TS_NAME", "TorchServe's names of the settings, weaker than FLAMBEAU_NAME."},
    {"serve", "ENVIRONMENT", "PORT",
     "Moves the inference listener to this port on all addresses, as Cloud Run asks."},
    {"serve", "ENVIRONMENT", "MLFLOW_TRACKING_URI",
     "The MLflow server of models: and runs: addresses and of the setting follow."},
    {"serve", "EXAMPLES", "Serve every archive of a folder on the loopback addresses",
     "flambeau serve --model-store model_store --models all"},
    {"serve", "EXAMPLES", "In a container, with the rest from a file",
     "flambeau serve --config config.properties --inference-address http://0.0.0.0:8080"},
    {"serve", "EXAMPLES", "See what would be used", "FLAMBEAU_BATCH_SIZE=16 flambeau serve --check-config"},
    {"doctor", "EXIT STATUS", "0", "Nothing is wrong; there may be warnings."},
    {"doctor", "EXIT STATUS", "1", "Something would keep the server from working."},
    {"doctor", "EXIT STATUS", "2", "Wrong usage."},
    {"doctor", "EXAMPLES", "Before a server is started", "flambeau doctor --config config.properties"},
    {"doctor", "EXAMPLES", "In a script",
     "flambeau doctor --json --models all | jq '.checks[] | select(.verdict != \"ok\")'"},
    {"doctor", "FILES", "/proc/cpuinfo, /sys/fs/cgroup",
     "What the CPU can do, and what of the machine this process may use."},
    {"doctor", "ENVIRONMENT", "MLFLOW_TRACKING_URI",
     "An MLflow server that is asked whether it lets us read its registry."},
};

}  // namespace

std::vector<ManSection> ManSections(std::string_view command, std::string_view title) {
  std::vector<ManSection> found;
  for (const ManSection& section : kSections) {
    if (section.command == command && section.title == title) found.push_back(section);
  }
  return found;
}

}  // namespace serve
