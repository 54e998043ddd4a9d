#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "serve/model/served_models.h"

namespace serve {

/// Of served_models.cc and served_traffic.cc alone.
struct VersionOrder {
  using is_transparent = void;
  bool operator()(std::string_view left, std::string_view right) const { return VersionLess(left, right); }
};

struct ServedModels::Table {
  struct Model {
    std::string default_version;
    std::map<std::string, ModelHandle, VersionOrder> versions;
    std::shared_ptr<const TrafficPlan> plan;  // null: all to the default version. Names versions that exist
    std::string why;
    std::chrono::system_clock::time_point since{};
    std::vector<TrafficState> history;  // the newest last
    std::string follow;                 // what the follower of its alias said last

    [[nodiscard]] TrafficState State() const { return {default_version, plan, why, since}; }
    /// The metrics of each version show what it gets.
    void ShowWeights() const;
  };
  std::map<std::string, Model, std::less<>> models;

  static Status NotFound(std::string_view model);
  static Status NotFound(std::string_view model, std::string_view version);
};

}  // namespace serve
