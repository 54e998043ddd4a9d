// Which version a request gets, and how that is changed.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/model/served_models.h"
#include "serve/model/served_table.h"

namespace serve {
namespace {

constexpr std::size_t kMostHistory = 16;

/// The plan as the table may hold it: its versions are there, the shares in their order.
Status Complete(const std::string& model, TrafficState& state, const auto& versions) {
  if (versions.find(state.default_version) == versions.end()) {
    return {Code::kVersionNotFound,
            fmt::format("Model version {} does not exist for model {}", state.default_version, model)};
  }
  if (!state.plan) return {};
  TrafficPlan plan = *state.plan;
  const auto check = [&](std::string_view version, std::string_view what) -> Status {
    const auto found = versions.find(version);
    if (found == versions.end()) {
      return {Code::kVersionNotFound,
              fmt::format("{} of model {} names version {}, which is not registered", what, model, version)};
    }
    return {};
  };
  for (const TrafficShare& share : plan.shares) {
    if (Status status = check(share.version, "a weight"); !status.ok()) return status;
  }
  for (const auto& [name, version] : plan.aliases) {
    if (Status status = check(version, "the alias " + name); !status.ok()) return status;
  }
  if (plan.shadow) {
    if (Status status = check(plan.shadow->version, "the shadow"); !status.ok()) return status;
    const auto& version = versions.find(plan.shadow->version)->second;
    if (version->handler().Generates()) {
      return InvalidArgument(fmt::format(
          "version {} of model {} generates its answers in steps: there is nothing to compare in a shadow",
          plan.shadow->version, model));
    }
  }
  std::sort(plan.shares.begin(), plan.shares.end(), [&](const TrafficShare& left, const TrafficShare& right) {
    const bool left_last = left.version == state.default_version;
    const bool right_last = right.version == state.default_version;
    if (left_last != right_last) return right_last;
    return VersionLess(right.version, left.version);
  });
  if (plan.rule && (plan.shares.size() != 2 || plan.shares.back().version != state.default_version)) {
    return InvalidArgument(fmt::format(
        "a rule compares the version that is tried out with the default one, so the weights must give "
        "something to the default version {} and to one other",
        state.default_version));
  }
  // All to the default version is what happens without shares.
  if (plan.shares.size() == 1 && plan.shares.front().version == state.default_version) plan.shares.clear();
  if (plan.shares.empty()) plan.rule.reset();
  state.plan = plan.empty() ? nullptr : std::make_shared<const TrafficPlan>(std::move(plan));
  return {};
}

/// What stays of a plan when one version gets everything.
std::shared_ptr<const TrafficPlan> WithoutShares(const TrafficPlan* plan, std::string_view winner) {
  if (plan == nullptr) return nullptr;
  TrafficPlan rest = *plan;
  rest.shares.clear();
  rest.rule.reset();
  if (rest.shadow && rest.shadow->version == winner) rest.shadow.reset();
  return std::make_shared<const TrafficPlan>(std::move(rest));
}

}  // namespace

void ServedModels::Table::Model::ShowWeights() const {
  for (const auto& [text, version] : versions) {
    const std::uint32_t points = plan                      ? plan->PointsOf(text, default_version)
                                 : text == default_version ? kAllPoints
                                                           : 0;
    version->metrics().traffic_points.Set(points);
  }
}

Result<ServedModels::Chosen> ServedModels::Choose(std::string_view model, std::string_view version,
                                                  const HeaderOf& header) const {
  const std::shared_ptr<const Table> table = table_.Get();
  const auto found = version.empty() ? table->models.find(model) : table->models.end();
  if (found == table->models.end() || !found->second.plan) {  // nearly always
    Result<ModelHandle> handle = Find(*table, model, version);
    if (!handle) return handle.error();
    if (version.empty() && found == table->models.end())  // an alias
      (*handle)->metrics().chosen[static_cast<std::size_t>(TrafficChoice::kAlias)].Add();
    return Chosen{std::move(*handle)};
  }
  const auto& [default_version, versions, plan, why, since, history, follow] = found->second;
  std::string_view wanted = default_version;
  TrafficChoice by = TrafficChoice::kDefault;
  if (!plan->shares.empty()) {
    const std::string_view sticky =
        header && !plan->sticky_header.empty() ? header(plan->sticky_header) : std::string_view();
    by = sticky.empty() ? TrafficChoice::kWeight : TrafficChoice::kSticky;
    std::uint32_t point = sticky.empty() ? RandomPoint() : StickyPoint(model, sticky);
    for (const TrafficShare& share : plan->shares) {
      wanted = share.version;
      if (point < share.points) break;
      point -= share.points;
    }
  }
  Chosen chosen{versions.find(wanted)->second};
  chosen.by_share = by == TrafficChoice::kWeight;
  chosen.version->metrics().chosen[static_cast<std::size_t>(by)].Add();
  if (plan->shadow && plan->shadow->version != wanted && RandomPoint() < plan->shadow->points) {
    chosen.shadow = versions.find(plan->shadow->version)->second;
    chosen.shadow_tolerance = plan->shadow->tolerance;
  }
  return chosen;
}

Result<ModelHandle> ServedModels::FindAlias(const Table& table, std::string_view text) {
  const std::size_t at = text.find('@');  // no name of a model has one
  if (at == std::string_view::npos) return Table::NotFound(text);
  const std::string_view name = text.substr(0, at);
  const auto found = table.models.find(name);
  if (found == table.models.end()) return Table::NotFound(name);
  std::string known;
  if (found->second.plan) {
    for (const auto& [alias, version] : found->second.plan->aliases) {
      if (alias == text.substr(at + 1)) return found->second.versions.find(version)->second;
      known += (known.empty() ? "" : ", ") + alias;
    }
  }
  return Status{Code::kVersionNotFound,
                fmt::format("Alias {} does not exist for model {}; known: {}", text.substr(at + 1), name,
                            known.empty() ? "none" : known)};
}

Status ServedModels::ChangeTraffic(std::string_view model, std::string why, const TrafficPlan* only_if,
                                   const TrafficChange& change) {
  std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto found = table->models.find(model);
  if (found == table->models.end()) return Table::NotFound(model);
  Table::Model& entry = found->second;
  if (only_if != nullptr && entry.plan.get() != only_if) {
    return {Code::kConflict, fmt::format("the traffic of model {} was changed meanwhile", model)};
  }
  const TrafficState before = entry.State();
  TrafficState after = before;
  if (Status status = change(after); !status.ok()) return status;
  if (Status status = Complete(found->first, after, entry.versions); !status.ok()) return status;
  if (!after.plan && !before.plan && after.default_version == before.default_version) return {};
  entry.history.push_back(before);
  if (entry.history.size() > kMostHistory) entry.history.erase(entry.history.begin());
  entry.default_version = after.default_version;
  entry.plan = after.plan;
  entry.why = std::move(why);
  entry.since = std::chrono::system_clock::now();
  entry.ShowWeights();
  LogInfo("traffic of model {}: {}; default version {}{}", model, entry.why, entry.default_version,
          entry.plan ? ", " + PlanJson(*entry.plan).dump() : "");
  table_.Publish(std::move(table));
  return {};
}

Status ServedModels::Promote(std::string_view model, std::string_view version, std::string why,
                             const TrafficPlan* only_if) {
  return ChangeTraffic(model, std::move(why), only_if, [&](TrafficState& state) -> Status {
    state.default_version = version;
    state.plan = WithoutShares(state.plan.get(), version);
    return {};
  });
}

Status ServedModels::StopSharing(std::string_view model, std::string why, const TrafficPlan* only_if) {
  return ChangeTraffic(model, std::move(why), only_if, [&](TrafficState& state) -> Status {
    state.plan = WithoutShares(state.plan.get(), {});
    return {};
  });
}

Status ServedModels::Rollback(std::string_view model) {
  std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto found = table->models.find(model);
  if (found == table->models.end()) return Table::NotFound(model);
  Table::Model& entry = found->second;
  if (entry.history.empty()) {
    return {Code::kConflict,
            fmt::format("the traffic of model {} was never changed: nothing to go back to", model)};
  }
  TrafficState back = entry.history.back();
  if (back.plan && back.plan->rule) {  // it would soon do again what is undone here
    TrafficPlan plan = *back.plan;
    plan.rule.reset();
    back.plan = std::make_shared<const TrafficPlan>(std::move(plan));
  }
  if (Status status = Complete(found->first, back, entry.versions); !status.ok()) {
    return {Code::kConflict,
            fmt::format("cannot go back to what was before ({}): {}. Register it again first.",
                        back.why.empty() ? "the start" : back.why, status.message)};
  }
  entry.history.pop_back();
  entry.default_version = back.default_version;
  entry.plan = back.plan;
  entry.why = "rolled back to what was before: " + entry.why;
  entry.since = std::chrono::system_clock::now();
  entry.ShowWeights();
  LogInfo("traffic of model {}: {}; default version {}", model, entry.why, entry.default_version);
  table_.Publish(std::move(table));
  return {};
}

void ServedModels::NoteFollow(std::string_view model, std::string text) {
  std::lock_guard lock(change_mutex_);
  const std::shared_ptr<const Table> known = table_.Get();
  const auto found = known->models.find(model);
  if (found == known->models.end() || found->second.follow == text) return;
  auto table = std::make_shared<Table>(*known);
  table->models.find(model)->second.follow = std::move(text);
  table_.Publish(std::move(table));
}

Status ServedModels::RestoreTraffic(std::string_view model, TrafficState state,
                                    std::vector<TrafficState> history) {
  std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto found = table->models.find(model);
  if (found == table->models.end()) return Table::NotFound(model);
  if (Status status = Complete(found->first, state, found->second.versions); !status.ok()) return status;
  Table::Model& entry = found->second;
  entry.default_version = state.default_version;
  entry.plan = state.plan;
  entry.why = std::move(state.why);
  entry.since = state.since;
  entry.history = std::move(history);
  entry.ShowWeights();
  table_.Publish(std::move(table));
  return {};
}

}  // namespace serve
