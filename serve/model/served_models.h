#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/published.h"
#include "serve/base/status.h"
#include "serve/model/model_version.h"
#include "serve/model/traffic_plan.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// The table of served versions.
///
/// Threads: every method from any thread; Remove and DrainAll wait, so never on a worker or an I/O thread.
/// Errors:  kModelNotFound, kVersionNotFound, kDefaultVersion with TorchServe's texts; kConflict also for
/// removing a
///          version that a traffic plan names.
class ServedModels {
 public:
  ServedModels();
  ~ServedModels();

  /// A lease on the version (empty: the default one). `model` may be `name@alias`, without a version then.
  Result<ModelHandle> Find(std::string_view model, std::string_view version) const;
  /// The version that one request gets. The hot path: takes no lock that other threads take, and a model
  /// without a plan pays for one look at a pointer.
  struct Chosen {
    ModelHandle version;
    ModelHandle shadow{};  // set: a copy of the request goes there too
    double shadow_tolerance = 0;
    bool by_share = false;  // by its share of the requests: the next one may get another version
  };
  Result<Chosen> Choose(std::string_view model, std::string_view version, const HeaderOf& header) const;
  [[nodiscard]] bool Contains(std::string_view model, std::string_view version) const;

  /// Puts a loaded version into the table; the first version of a name becomes its default.
  Status Add(ModelHandle version);
  /// Everything to this version; ends a traffic plan, and is nothing that Rollback goes back from.
  Status SetDefault(std::string_view model, std::string_view version);

  /// Changes the default version and the plan at once; what was before is kept for Rollback (16 steps).
  /// `change` gets the state and alters it; versions that it names must be there. `only_if`: kConflict when
  /// the plan is another one by now.
  using TrafficChange = std::function<Status(TrafficState&)>;
  Status ChangeTraffic(std::string_view model, std::string why, const TrafficPlan* only_if,
                       const TrafficChange& change);
  /// Everything to `version`, which becomes the default one; aliases and the shadow of another version stay.
  Status Promote(std::string_view model, std::string_view version, std::string why,
                 const TrafficPlan* only_if = nullptr);
  /// Everything to the default version.
  Status StopSharing(std::string_view model, std::string why, const TrafficPlan* only_if);
  /// Back to what was before the last change, but for a rule, which would act again. kConflict: there is
  /// none, or its versions are gone.
  Status Rollback(std::string_view model);
  /// What the follower of the model's alias said last, for describe. Nothing happens when there is no such
  /// model.
  void NoteFollow(std::string_view model, std::string text);
  Status RestoreTraffic(std::string_view model, TrafficState state, std::vector<TrafficState> history);

  /// Takes the version (empty: the default one) out of the table and closes it: requests that were accepted
  /// are served first. kReadTimeout when one of them still runs after `timeout`.
  Status Remove(std::string_view model, std::string_view version,
                SteadyClock::duration timeout = std::chrono::minutes(2));
  /// Closes every version: no new request, waiting ones are served until `deadline`, the rest is answered.
  void DrainAll(TimePoint deadline);

  struct Entry {
    std::string name;
    std::string default_version;
    std::vector<ModelHandle> versions;  // ascending: 2.0 before 10.0
    TrafficState traffic;
    std::string follow;                 // what NoteFollow said
    std::vector<TrafficState> history;  // what Rollback goes back to, the newest last
  };
  [[nodiscard]] std::vector<Entry> List() const;  // sorted by name
  [[nodiscard]] Result<Entry> Get(std::string_view model) const;

  void SetStarting(bool starting) { starting_.store(starting); }
  /// What the start loads right now: Ready names it.
  void NoteStartLoading(const std::string& url, bool loading);
  [[nodiscard]] bool Starting() const { return starting_.load(std::memory_order_relaxed); }
  /// A model that should have been there from the start is not: not ready until something is registered from
  /// `url`.
  void NoteStartFailure(const std::string& url, const std::string& why);
  void SetDraining() { draining_.store(true); }
  [[nodiscard]] bool Draining() const { return draining_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool Ready(std::string* why) const;
  /// True when a version could not be closed because a worker is stuck in a model: the process must end
  /// without running destructors.
  [[nodiscard]] bool HasStuckVersions() const {
    std::lock_guard lock(change_mutex_);
    return !stuck_.empty();
  }

  static Status AlreadyRegistered(std::string_view model, std::string_view version);

 private:
  struct Table;
  static Result<ModelHandle> Find(const Table& table, std::string_view model, std::string_view version);
  static Result<ModelHandle> FindAlias(const Table& table, std::string_view text);
  Status Retire(ModelHandle version, TimePoint deadline);

  Published<Table> table_;
  mutable std::mutex change_mutex_;  // one change at a time; guards stuck_, start_failures_
  std::vector<ModelHandle> stuck_;
  std::map<std::string, std::string> start_failures_;  // url → why; guarded by change_mutex_
  std::set<std::string> start_loading_;                // urls; guarded by change_mutex_
  std::atomic<bool> starting_{false};
  std::atomic<bool> draining_{false};
};

/// Orders "2.0" before "10.0" and "1.0" before "1.0.1"; other texts by their bytes.
bool VersionLess(std::string_view left, std::string_view right);

}  // namespace serve
