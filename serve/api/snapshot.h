#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/base/status.h"
#include "serve/model/model_version.h"
#include "serve/model/options.h"

namespace serve {

/// One version of a snapshot.
struct SnapshotModel {
  std::string name;
  std::string version;
  std::string file;                 // of the model store
  std::string url;                  // as it was registered; shown by describe
  nlohmann::ordered_json origin{};  // of a model from the cache; else null
  CallParameters call;
  /// What a call had named: it holds again. In a snapshot of TorchServe every number counts as named.
  ModelConfig given;
};

/// A registered workflow; its models are not listed besides.
struct SnapshotWorkflow {
  std::string name;
  std::string url;   // as it was registered
  std::string file;  // of the workflow store
};

/// How the requests of a model are divided, as traffic_state.h reads it.
struct SnapshotTraffic {
  std::string model;
  nlohmann::ordered_json kept;
};

struct Snapshot {
  std::vector<SnapshotModel> models;
  std::vector<SnapshotWorkflow> workflows;
  std::vector<SnapshotTraffic> traffic;
  std::vector<std::string> problems;  // entries that cannot be used, each with its reason
};

/// The text of a snapshot file, in TorchServe's form: properties with `model_snapshot`, a JSON text. What
/// TorchServe has no place for stands under the key `flambeau` of each version, workflows and traffic under
/// that of the whole. Settings are not part of it: they come from the configuration alone.
std::string SnapshotText(const std::vector<ModelHandle>& versions, const std::vector<bool>& is_default,
                         const std::vector<SnapshotWorkflow>& workflows, std::string_view name,
                         std::chrono::system_clock::time_point now,
                         const std::vector<SnapshotTraffic>& traffic = {});

/// Reads the JSON text that `model_snapshot` holds. Errors: kInvalidArgument when it is none at all.
Result<Snapshot> ParseSnapshotJson(std::string_view json);
/// Reads a snapshot file, TorchServe's too.
Result<Snapshot> ParseSnapshotText(std::string_view text);

}  // namespace serve
