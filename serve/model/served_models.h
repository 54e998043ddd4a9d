#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/base/published.h"
#include "serve/base/status.h"
#include "serve/model/model_version.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// The table of served versions.
///
/// Threads: every method from any thread; Remove and DrainAll wait, so never on a worker or an I/O thread.
/// Errors:  kModelNotFound, kVersionNotFound, kConflict, kDefaultVersion with TorchServe's texts.
class ServedModels {
 public:
  ServedModels();
  ~ServedModels();

  /// A lease on the version (empty: the default one). The hot path: takes no lock that other threads take.
  Result<ModelHandle> Find(std::string_view model, std::string_view version) const;
  [[nodiscard]] bool Contains(std::string_view model, std::string_view version) const;

  /// Puts a loaded version into the table; the first version of a name becomes its default.
  Status Add(ModelHandle version);
  Status SetDefault(std::string_view model, std::string_view version);
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
  };
  [[nodiscard]] std::vector<Entry> List() const;  // sorted by name
  [[nodiscard]] Result<Entry> Get(std::string_view model) const;

  void SetStarting(bool starting) { starting_.store(starting); }
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
  Status Retire(ModelHandle version, TimePoint deadline);

  Published<Table> table_;
  mutable std::mutex change_mutex_;  // one change at a time; guards stuck_, start_failures_
  std::vector<ModelHandle> stuck_;
  std::map<std::string, std::string> start_failures_;  // url → why; guarded by change_mutex_
  std::atomic<bool> starting_{false};
  std::atomic<bool> draining_{false};
};

/// Orders "2.0" before "10.0" and "1.0" before "1.0.1"; other texts by their bytes.
bool VersionLess(std::string_view left, std::string_view right);

}  // namespace serve
