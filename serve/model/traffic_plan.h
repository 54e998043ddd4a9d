#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/base/status.h"

namespace serve {

/// Percentages are kept in hundredths: a request draws a point below this, a version owns a range of points.
inline constexpr std::uint32_t kAllPoints = 10'000;

struct TrafficShare {
  std::string version;
  std::uint32_t points = 0;
};

/// Copies of requests go to `version`, and its answers are compared.
struct ShadowPlan {
  std::string version;
  std::uint32_t points = kAllPoints;
  double tolerance = 0.001;  // numbers a and b are equal when |a - b| <= tolerance * max(1, |a|)
};

/// Decides by itself about the one version that is tried out: see traffic_rule.h.
struct TrafficRule {
  std::uint64_t requests = 500;      // that the version has to answer before anything is decided
  double max_error_increase = 0.01;  // how much larger its share of errors may be
  double max_p99_ratio = 1.25;       // how much slower it may be, and
  double p99_slack_ms = 5;           // how much more is allowed besides: small times vary
  std::chrono::seconds min_time{0};  // not before
};

/// How the requests of one model that name no version are divided. Immutable once it is in the table.
struct TrafficPlan {
  /// Empty: all go to the default version. The newest version first and the default one last, so that a
  /// version that grows keeps the points that it had: a sticky client stays with it.
  std::vector<TrafficShare> shares;
  std::map<std::string, std::string, std::less<>> aliases;  // name → version
  std::string sticky_header;  // its value chooses instead of chance; empty: none
  std::optional<ShadowPlan> shadow;
  std::optional<TrafficRule> rule;

  [[nodiscard]] bool empty() const { return shares.empty() && aliases.empty() && !shadow; }
  /// What `version` gets, below kAllPoints or equal.
  [[nodiscard]] std::uint32_t PointsOf(std::string_view version, std::string_view default_version) const;
  /// `10 % of the requests, alias production`; empty: the plan does not name the version.
  [[nodiscard]] std::string UsesOf(std::string_view version) const;
};

/// Who serves a model, since when and why: what a rollback goes back to.
struct TrafficState {
  std::string default_version;
  std::shared_ptr<const TrafficPlan> plan;  // null: everything goes to the default version
  std::string why;                          // `PATCH`, `promoted by the rule: …`; for people
  std::chrono::system_clock::time_point since{};
};

/// The value of a header of the request, empty when there is none; null: the request has no headers.
using HeaderOf = std::function<std::string_view(std::string_view name)>;

/// Changes `plan` as the members of `json` say: `weights` {version: percent}, `aliases` {name: version or
/// null}, `sticky_header`, `shadow` {version, percent, tolerance}, `rule` {promote_after, max_error_increase,
/// max_p99_ratio, p99_slack_ms, min_seconds}. null removes a member, one that is missing stays, new aliases
/// come to the others. What the weights leave of 100 goes to `default_version` if they do not name it.
/// Errors: kInvalidArgument, naming the member and what is allowed.
Status ChangePlan(const nlohmann::json& json, std::string_view default_version, TrafficPlan& plan);

/// The members that ChangePlan reads.
nlohmann::ordered_json PlanJson(const TrafficPlan& plan);

/// A point by chance; a point that the same text always gets for the same model.
std::uint32_t RandomPoint();
std::uint32_t StickyPoint(std::string_view model, std::string_view value);

}  // namespace serve
