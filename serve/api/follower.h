#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "serve/api/management_api.h"
#include "serve/api/options.h"
#include "serve/model/served_models.h"
#include "serve/telemetry/metrics.h"

namespace serve {

/// Where versions of models are listed, and which of them an alias means. Calls block.
class ModelRegistry {
 public:
  virtual ~ModelRegistry() = default;
  virtual Result<std::string> VersionOfAlias(const std::string& model, const std::string& alias) = 0;
  /// What a register call takes for it; the same text every time.
  [[nodiscard]] virtual std::string UrlOf(const std::string& model, const std::string& version) const = 0;
  virtual Status SetVersionTag(const std::string& model, const std::string& version, const std::string& key,
                               const std::string& value) = 0;
};

/// A model whose served version is the one that an alias of the registry means.
struct Followed {
  std::string model;
  std::string alias;
};
/// `models:/news@production, images@champion`. Errors: kInvalidArgument, with the form that is allowed.
Result<std::vector<Followed>> ParseFollowed(std::string_view text);

/// Serves what aliases of a registry mean. When an alias moves, the new version is registered under its
/// number in the registry (loading checks it with the archive's examples), gets the requests at once or after
/// a canary that a rule judges, and then the version before it is unregistered.
///
/// A version that cannot be loaded, or that the rule rolls back, leaves everything as it was and is not tried
/// again until the alias has meant another one. The log says why, describe does (`traffic.follow`), and so
/// does the tag `flambeau.check` of the version in the registry: `passed`, or `failed: …`.
/// metrics.follow_failing counts the aliases whose last look ended so, or found no registry.
/// Threads: Look blocks, one at a time; Stop from any thread.
class Follower {
 public:
  /// Everything is borrowed and outlives this.
  Follower(ServedModels& models, ManagementApi& management, ModelRegistry& registry, Metrics& metrics,
           FollowOptions options, std::vector<Followed> followed);

  void Look();
  /// Look does no more than the step it is in.
  void Stop() { stopped_ = true; }
  [[nodiscard]] bool Busy() const { return busy_; }

 private:
  struct One {
    Followed followed;
    std::string trying;    // the version whose canary was begun here
    std::string failed;    // the version that is not tried again
    std::string note;      // what was said last
    bool failing = false;  // it was a warning
  };
  struct Facts {
    bool there = false;  // the version is registered
    bool is_default = false;
    bool tried_out = false;
    std::string why;                 // of the traffic as it is
    std::vector<std::string> older;  // versions of the registry that get nothing
  };
  [[nodiscard]] Facts Read(const std::string& model, const std::string& version) const;
  void LookAt(One& one);
  bool Load(One& one, const std::string& version);
  void Shift(One& one, const std::string& version);
  void Passed(One& one, const std::string& version, const std::vector<std::string>& older);
  void Failed(One& one, const std::string& version, const std::string& why);
  void Note(One& one, std::string text, bool warn = false);
  void Tag(const One& one, const std::string& version, const std::string& value);

  ServedModels& models_;
  ManagementApi& management_;
  ModelRegistry& registry_;
  Metrics& metrics_;
  const FollowOptions options_;
  std::mutex mutex_;  // guards ones_: one look at a time
  std::vector<One> ones_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> busy_{false};
};

}  // namespace serve
