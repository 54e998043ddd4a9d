#include "serve/model/traffic_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace serve {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t kMostAliases = 100;
constexpr std::size_t kMostShares = 32;
constexpr std::size_t kLongestName = 64;
constexpr double kMostSeconds = 30 * 86'400;

double Percent(std::uint32_t points) { return points * 100.0 / kAllPoints; }

/// Percent of a JSON number; whole ones look like it.
ordered_json PercentJson(std::uint32_t points) {
  if (points % 100 == 0) return points / 100;
  return Percent(points);
}

Status Wrong(std::string_view member, std::string_view allowed) {
  return InvalidArgument(fmt::format("traffic: `{}` must be {}", member, allowed));
}

bool IsName(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_' || c == '.';
  });
}

Status ReadPoints(std::string_view member, const json& value, std::uint32_t& points) {
  const double percent = value.is_number() ? value.get<double>() : -1;
  if (!(percent >= 0 && percent <= 100)) return Wrong(member, "a percentage from 0 to 100");
  points = static_cast<std::uint32_t>(std::lround(percent * (kAllPoints / 100)));
  return {};
}

/// Refuses members that nobody reads: a typing error must not look like a success.
Status OnlyKnown(std::string_view where, const json& object, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return InvalidArgument(
        fmt::format("traffic: {}unknown member `{}`; known: {}", where, name, fmt::join(known, ", ")));
  }
  return {};
}

Status ReadWeights(const json& weights, std::string_view default_version, TrafficPlan& plan) {
  plan.shares.clear();
  if (weights.is_null()) return {};
  if (!weights.is_object() || weights.empty() || weights.size() > kMostShares)
    return Wrong("weights", "an object {version: percent} of 1 to 32 versions");
  std::uint32_t sum = 0;
  for (const auto& [version, value] : weights.items()) {
    TrafficShare share{version};
    if (Status status = ReadPoints("weights." + version, value, share.points); !status.ok()) return status;
    sum += share.points;
    if (share.points > 0) plan.shares.push_back(std::move(share));
  }
  if (sum < kAllPoints && !weights.contains(std::string(default_version)))
    plan.shares.push_back({std::string(default_version), kAllPoints - std::exchange(sum, kAllPoints)});
  if (sum != kAllPoints)
    return InvalidArgument(
        fmt::format("traffic: the weights are {} % together, they must be 100 %", Percent(sum)));
  return {};
}

Status ReadAliases(const json& aliases, TrafficPlan& plan) {
  if (aliases.is_null()) {
    plan.aliases.clear();
    return {};
  }
  if (!aliases.is_object()) return Wrong("aliases", "an object {name: version}");
  for (const auto& [name, version] : aliases.items()) {
    if (!IsName(name))
      return Wrong("aliases", "named by 1 to 64 letters, digits, `-`, `_` and `.`, not `" + name + "`");
    if (version.is_null()) {
      plan.aliases.erase(name);
    } else if (version.is_string()) {
      plan.aliases[name] = version.get<std::string>();
    } else {
      return Wrong("aliases." + name, "the text of a version, or null to remove it");
    }
  }
  if (plan.aliases.size() > kMostAliases) return Wrong("aliases", "100 at most");
  return {};
}

Status ReadShadow(const json& value, TrafficPlan& plan) {
  plan.shadow.reset();
  if (value.is_null()) return {};
  if (!value.is_object() || !value.contains("version") || !value["version"].is_string())
    return Wrong("shadow", "an object with `version`, and `percent`, `tolerance` where you like");
  if (Status status = OnlyKnown("shadow: ", value, {"version", "percent", "tolerance"}); !status.ok())
    return status;
  ShadowPlan shadow{value["version"].get<std::string>()};
  if (value.contains("percent")) {
    if (Status status = ReadPoints("shadow.percent", value["percent"], shadow.points); !status.ok())
      return status;
  }
  if (value.contains("tolerance")) {
    shadow.tolerance = value["tolerance"].is_number() ? value["tolerance"].get<double>() : -1;
    if (!(shadow.tolerance >= 0 && shadow.tolerance <= 1e9)) return Wrong("shadow.tolerance", "0 or more");
  }
  if (shadow.points > 0) plan.shadow = std::move(shadow);
  return {};
}

Status ReadRule(const json& value, TrafficPlan& plan) {
  plan.rule.reset();
  if (value.is_null()) return {};
  if (!value.is_object()) return Wrong("rule", "an object, or null");
  TrafficRule rule;
  double requests = static_cast<double>(rule.requests);
  double seconds = 0;
  struct Field {
    std::string_view name;
    double* target;
    double low;
    double high;
  };
  const Field fields[] = {{"promote_after", &requests, 1, 1e12},
                          {"max_error_increase", &rule.max_error_increase, 0, 1},
                          {"max_p99_ratio", &rule.max_p99_ratio, 0, 1e6},
                          {"p99_slack_ms", &rule.p99_slack_ms, 0, 1e6},
                          {"min_seconds", &seconds, 0, kMostSeconds}};
  Status known =
      OnlyKnown("rule: ", value,
                {"promote_after", "max_error_increase", "max_p99_ratio", "p99_slack_ms", "min_seconds"});
  if (!known.ok()) return known;
  for (const Field& field : fields) {
    const auto found = value.find(std::string(field.name));
    if (found == value.end()) continue;
    const double number = found->is_number() ? found->get<double>() : -1;
    if (!(number >= field.low && number <= field.high))
      return Wrong(fmt::format("rule.{}", field.name),
                   fmt::format("a number from {} to {}", field.low, field.high));
    *field.target = number;
  }
  rule.requests = static_cast<std::uint64_t>(requests);
  rule.min_time = std::chrono::seconds(static_cast<std::int64_t>(seconds));
  plan.rule = rule;
  return {};
}

std::uint64_t Mix(std::uint64_t bits) {  // the finalizer of splitmix64
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9U;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBU;
  return bits ^ (bits >> 31);
}

std::uint32_t ToPoint(std::uint64_t bits) {
  return static_cast<std::uint32_t>(((bits >> 32) * kAllPoints) >> 32);
}

}  // namespace

std::uint32_t TrafficPlan::PointsOf(std::string_view version, std::string_view default_version) const {
  if (shares.empty()) return version == default_version ? kAllPoints : 0;
  for (const TrafficShare& share : shares) {
    if (share.version == version) return share.points;
  }
  return 0;
}

std::string TrafficPlan::UsesOf(std::string_view version) const {
  std::vector<std::string> uses;
  for (const TrafficShare& share : shares) {
    if (share.version == version) uses.push_back(fmt::format("{} % of the requests", Percent(share.points)));
  }
  for (const auto& [name, target] : aliases) {
    if (target == version) uses.push_back("alias " + name);
  }
  if (shadow && shadow->version == version) uses.emplace_back("shadow copies");
  return fmt::format("{}", fmt::join(uses, ", "));
}

Status ChangePlan(const json& object, std::string_view default_version, TrafficPlan& plan) {
  if (!object.is_object()) {
    return InvalidArgument("traffic: the body must be a JSON object, sent as application/json");
  }
  Status status = OnlyKnown("", object, {"weights", "aliases", "sticky_header", "shadow", "rule"});
  if (!status.ok()) return status;
  if (object.contains("weights")) status = ReadWeights(object["weights"], default_version, plan);
  if (status.ok() && object.contains("weights") && !object.contains("rule")) plan.rule.reset();
  if (status.ok() && object.contains("aliases")) status = ReadAliases(object["aliases"], plan);
  if (status.ok() && object.contains("shadow")) status = ReadShadow(object["shadow"], plan);
  if (status.ok() && object.contains("rule")) status = ReadRule(object["rule"], plan);
  if (status.ok() && object.contains("sticky_header")) {
    const json& header = object["sticky_header"];
    const std::string name = header.is_string() ? header.get<std::string>() : "";
    if (!header.is_null() && !name.empty() && !IsName(name))
      status = Wrong("sticky_header", "the name of a header");
    if (!header.is_null() && !header.is_string()) status = Wrong("sticky_header", "the name of a header");
    plan.sticky_header = name;
  }
  if (status.ok() && plan.rule && plan.shares.size() != 2) {
    status = InvalidArgument(
        "traffic: a rule compares the version that is tried out with the default one, so the weights must "
        "give something to exactly these two");
  }
  return status;
}

ordered_json PlanJson(const TrafficPlan& plan) {
  ordered_json object = ordered_json::object();
  for (const TrafficShare& share : plan.shares) object["weights"][share.version] = PercentJson(share.points);
  if (!plan.aliases.empty()) object["aliases"] = plan.aliases;
  object["sticky_header"] = plan.sticky_header;
  if (plan.shadow) {
    object["shadow"] = {{"version", plan.shadow->version},
                        {"percent", PercentJson(plan.shadow->points)},
                        {"tolerance", plan.shadow->tolerance}};
  }
  if (plan.rule) {
    object["rule"] = {{"promote_after", plan.rule->requests},
                      {"max_error_increase", plan.rule->max_error_increase},
                      {"max_p99_ratio", plan.rule->max_p99_ratio},
                      {"p99_slack_ms", plan.rule->p99_slack_ms},
                      {"min_seconds", plan.rule->min_time.count()}};
  }
  return object;
}

std::uint32_t RandomPoint() {
  thread_local std::uint64_t state =
      Mix(reinterpret_cast<std::uintptr_t>(&state) ^
          static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()));
  state += 0x9E3779B97F4A7C15U;  // splitmix64: a thread has its own, nobody meets at it
  return ToPoint(Mix(state));
}

std::uint32_t StickyPoint(std::string_view model, std::string_view value) {
  std::uint64_t hash = 0xCBF29CE484222325U;  // FNV-1a: the same in every process and on every machine
  const auto add = [&hash](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  };
  add(model);
  add(std::string_view("\0", 1));
  add(value);
  return ToPoint(Mix(hash));
}

}  // namespace serve
