#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "serve/api/options.h"
#include "serve/base/log.h"
#include "serve/http/options.h"
#include "serve/security/options.h"
#include "serve/telemetry/options.h"
#include "serve/tracing/options.h"

namespace serve {

/// Where a listener binds.
struct ListenAddress {
  std::string host = "127.0.0.1";  // IP address (IPv6 without brackets), name, or /path of a Unix socket
  std::uint16_t port = 0;          // 0: the kernel chooses
  bool tls = false;                // https

  bool operator==(const ListenAddress&) const = default;
};

/// Which https listeners ask clients for a certificate, once there is a client_ca_file.
struct ClientCertificates {
  bool inference = true;
  bool management = true;
  bool metrics = false;  // they hold no secrets, and scrapers seldom have one
};

/// Everything that the program needs to run. serve/config fills it; the defaults that stand here and in the
/// options.h of the rooms are those of the settings.
struct AppOptions {
  ListenAddress inference{"127.0.0.1", 8080};
  ListenAddress management{"127.0.0.1", 8081};
  ListenAddress metrics{"127.0.0.1", 8082};
  bool single_port = false;         // everything is served on `inference`; the others are equal to it
  bool management_listener = true;  // off: the management API is not served at all
  TlsOptions tls;                   // of the addresses that say so
  ClientCertificates client_certificates;
  HttpLimits http;
  SequenceNames sequence_names;  // of header fields
  int io_threads = 0;            // 0: half of the CPU quota, at least 2 where there are 2
  int management_threads = 2;    // they load models and wait for workers

  ManagementOptions management_api;  // `defaults.intra_op_threads` is planned by the application
  TrafficOptions traffic;
  FollowOptions follow;
  std::string load_models = "none";  // `all`, `none`, `a.mar`, `name=a.mar`, comma-separated
  bool exit_on_load_failure = false;
  std::string model_snapshot;    // a snapshot's JSON text, which alone decides what is loaded; empty: none
  bool config_snapshots = true;  // note what is registered, and restore it at the next start
  int start_workers = 0;         // of a version that load_models names; 0: planned from the CPU quota
  int intra_op_threads = 0;      // of one worker; 0: planned from the CPU quota
  AutoscaleOptions autoscale;
  std::chrono::milliseconds tuning_budget{20'000};  // of one version
  std::vector<std::string> search_command;          // of TunerOptions; no setting: the program itself
  std::string tuning_folder;  // where results of tuning are kept; empty: `.tuning` in the model store
  std::uint64_t max_archive_bytes = 8ULL << 30;  // of the unpacked files together

  bool metrics_listener = true;
  bool torchserve_metric_names = false;  // also the names that are not in base units

  TokenOptions tokens;
  bool insecure = false;  // the management API may be open to others than this machine without a token

  bool metric_lines = true;              // TorchServe's metrics go to the metric logs, where there are any
  std::string metrics_config;            // metrics.yaml; empty: TorchServe's default list
  bool system_metrics = true;            // CPU, memory and disk of the machine among TorchServe's names
  std::chrono::seconds metric_time{60};  // between two looks at gauges, and two entries in the metric logs

  TraceSampling trace_sampling;
  TraceExport trace_export;
  Instance instance;  // the environment's

  LogOptions log;
  enum class LogFiles : std::uint8_t { kAuto, kOn, kOff };
  LogFiles log_files = LogFiles::kAuto;  // TorchServe's files; with kOff `log` names no folders
  std::chrono::seconds grace{10};        // how long accepted requests may take after SIGTERM
  std::string port_file;                 // JSON with the bound addresses is written here; empty: none
};

/// The threads that serve connections, where `cpus` may be used.
inline int PlannedIoThreads(const AppOptions& options, int cpus) {
  return options.io_threads > 0 ? options.io_threads : std::clamp(cpus / 2, std::min(cpus, 2), 256);
}

}  // namespace serve
