#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/api/management_api.h"
#include "serve/api/traffic_rule.h"
#include "serve/model/served_models.h"

namespace serve {

/// The use cases of traffic between the versions of a model, without a protocol: docs/traffic.md.
///
/// Errors:  kModelNotFound, kVersionNotFound, kInvalidArgument for a plan that cannot be, kConflict for a
///          rollback that has nothing to go back to.
/// Threads: every method from any thread but an I/O thread: a snapshot is written.
class TrafficApi {
 public:
  /// Both are borrowed from the application and outlive this.
  TrafficApi(ServedModels& models, ManagementApi& management, TrafficOptions options);

  Result<ManagementReply> Describe(const std::string& model);
  /// Replaces the plan, or changes the members that `change` names. See ChangePlan for the members.
  Result<ManagementReply> Replace(const std::string& model, const nlohmann::json& plan);
  Result<ManagementReply> Change(const std::string& model, const nlohmann::json& change);
  /// Everything to the default version; aliases, shadow and rule end too.
  Result<ManagementReply> Remove(const std::string& model);
  /// Makes `version` the default one and gives it everything. Empty: the one that is tried out.
  Result<ManagementReply> Promote(const std::string& model, const std::string& version);
  Result<ManagementReply> Rollback(const std::string& model);

  /// Looks at every rule and does what it decides. `now` is only compared with itself.
  void JudgeRules(TimePoint now);

 private:
  /// A rule that is under way: from the first look at its plan on.
  struct Running {
    std::shared_ptr<const TrafficPlan> plan;
    TimePoint since;
    TrafficCounts candidate;  // at the beginning
    TrafficCounts stable;
    std::string why;  // the last verdict
  };
  Result<ManagementReply> Done(const std::string& model, Status status);
  Result<ManagementReply> SetPlan(const std::string& model, std::string_view how, const nlohmann::json& json,
                                  bool replace);
  void JudgeRule(const ServedModels::Entry& entry, TimePoint now);

  ServedModels& models_;
  ManagementApi& management_;
  const TrafficOptions options_;
  std::mutex mutex_;                        // guards running_
  std::map<std::string, Running> running_;  // by model
};

}  // namespace serve
