#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "serve/model/options.h"

namespace serve {

/// How requests are divided between the versions of a model.
struct TrafficOptions {
  std::string sticky_header = "X-Sticky-Key";      // of a plan that names none; empty: none
  std::size_t shadow_backlog = 256;                // copies that wait or run; more are dropped
  std::uint64_t shadow_max_body_bytes = 1U << 20;  // a larger body is not copied
  std::chrono::milliseconds rule_interval{1000};   // between two looks at the counters
};

/// Models whose version follows an alias of a registry.
struct FollowOptions {
  std::string models;                          // `models:/NAME@ALIAS` with commas between them; empty: none
  std::chrono::milliseconds interval{10'000};  // between two looks at the aliases
  int canary_percent = 0;   // what a new version gets until the rule decides; 0: all at once
  int promote_after = 500;  // requests, of that rule
  int workers = 1;          // of the first version
};

/// What the fields of a request and its answer that speak of sequences are called.
struct SequenceNames {
  std::string id = "ts_request_sequence_id";
  std::string start = "ts_request_sequence_start";
  std::string end = "ts_request_sequence_end";
};

struct ManagementOptions {
  std::string model_store;              // folder; empty: nothing can be registered
  std::string workflow_store;           // folder of workflow archives; empty: model_store
  std::size_t max_workflow_nodes = 64;  // of one workflow
  std::string unpack_folder;            // where archives are unpacked; made and removed by the server
  std::string allowed_urls;             // expressions of URLs that archives may be fetched from; empty: none
  std::uint64_t max_download_bytes = 8ULL << 30;
  std::chrono::milliseconds download_timeout{600'000};
  int download_connections = 4;                           // ranges of one large file that are fetched at once
  std::string source_cache;                               // folder; empty: .cache in the model store
  std::uint64_t source_cache_bytes = 20ULL << 30;         // of what nobody uses; 0: no limit
  std::chrono::milliseconds unregister_timeout{120'000};  // how long a running request holds up a removal
  bool allow_model_api = true;                            // register and unregister
  int default_workers = 0;                                // for a register call that names no initial_workers
  int cpus = 1;                 // the CPU quota, from which intra-op threads are planned
  VersionOptions defaults;      // queue size, timeouts, … of a version that says nothing
  ModelConfigs models;          // the setting `models`: of single versions
  std::string snapshot_folder;  // where the registered models are noted for the next start; empty: nowhere
};

}  // namespace serve
