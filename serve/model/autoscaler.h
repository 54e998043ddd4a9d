#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "serve/model/model_version.h"
#include "serve/model/options.h"
#include "serve/model/served_models.h"

namespace serve {

/// How many workers one version should have, told from how long its requests wait.
///
/// One more when a request would wait longer than `high` at two looks in a row; one less when for `calm` no
/// request had to wait longer than a quarter of that. What lies between changes nothing, so that the number
/// does not swing. Not thread-safe.
class AutoscaleRule {
 public:
  explicit AutoscaleRule(AutoscaleOptions options) : options_(options) {}
  int Decide(TimePoint now, int running, int min, int max, std::chrono::nanoseconds queue_time);

 private:
  const AutoscaleOptions options_;
  int busy_looks_ = 0;
  std::optional<TimePoint> calm_since_;
};

/// Keeps the workers of every version between its min_worker and max_worker, by AutoscaleRule. Versions with
/// equal bounds are left alone.
///
/// Threads: one of its own; the destructor joins it.
class Autoscaler {
 public:
  /// `models` is borrowed and outlives this.
  Autoscaler(ServedModels& models, AutoscaleOptions options);
  ~Autoscaler();
  Autoscaler(const Autoscaler&) = delete;
  Autoscaler& operator=(const Autoscaler&) = delete;

 private:
  void Run();
  void Look(TimePoint now);

  ServedModels& models_;
  const AutoscaleOptions options_;
  std::map<std::weak_ptr<ModelVersion>, AutoscaleRule, std::owner_less<>> rules_;  // of the thread
  std::mutex mutex_;                                                               // guards stopping_
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // last: joined before the rest dies
};

}  // namespace serve
