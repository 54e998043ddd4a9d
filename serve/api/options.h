#pragma once

#include <string>

#include "serve/model/options.h"

namespace serve {

struct ManagementOptions {
  std::string model_store;      // folder; empty: nothing can be registered
  std::string unpack_folder;    // where archives are unpacked; made and removed by the server
  bool allow_model_api = true;  // register and unregister
  int default_workers = 0;      // for a register call that names no initial_workers
  int cpus = 1;                 // the CPU quota, from which intra-op threads are planned
  VersionOptions defaults;      // queue size, timeouts, … of a version that says nothing
  ModelConfigs models;          // the setting `models`: of single versions
};

}  // namespace serve
