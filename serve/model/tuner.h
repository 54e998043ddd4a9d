#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "serve/model/model_version.h"
#include "serve/model/options.h"

namespace serve {

/// Finds for each version the fastest way to run it, one version at a time, and remembers the choice: the
/// next start with the same model file, engine, CPU and settings takes it without timing anything.
///
/// Threads: Tune and Enqueue from any thread. Tuning in the background has a thread of its own, which ends
/// with this
///          object after the run of a model that it is in.
/// Errors:  none that matter to traffic: a version that cannot be tuned goes on as it was, and `describe`
/// says why.
class Tuner {
 public:
  explicit Tuner(TunerOptions options);
  ~Tuner();
  Tuner(const Tuner&) = delete;
  Tuner& operator=(const Tuner&) = delete;

  /// Returns when the version runs in its fastest way.
  void Tune(ModelVersion& version, const Sample& sample);
  /// The same later, unless the version is gone by then.
  void Enqueue(const std::shared_ptr<ModelVersion>& version, Sample sample);
  /// What is being timed is given up, and nothing new is begun. Does not wait.
  void Stop();
  /// A version is being timed: the destructor would wait for the run that it is in.
  [[nodiscard]] bool busy() const { return busy_.load(std::memory_order_relaxed); }

 private:
  struct Job {
    std::weak_ptr<ModelVersion> version;
    Sample sample;
    TimePoint due;
  };
  void Run();
  void Search(ModelVersion& version, const Sample& sample);
  [[nodiscard]] Result<SearchResult> Choose(const ModelVersion& version,
                                            const std::vector<SizedBatch>& batches,
                                            const SearchOptions& options) const;
  [[nodiscard]] std::filesystem::path FileFor(const ModelVersion& version, const std::string& key) const;

  const TunerOptions options_;
  std::mutex one_at_a_time_;  // two searches would disturb each other
  std::mutex mutex_;          // guards jobs_
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> busy_{false};
  std::thread thread_;
};

}  // namespace serve
