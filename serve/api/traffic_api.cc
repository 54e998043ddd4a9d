#include "serve/api/traffic_api.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "serve/api/traffic_state.h"
#include "serve/base/log.h"

namespace serve {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

ModelHandle VersionOf(const ServedModels::Entry& entry, const std::string& version) {
  for (const ModelHandle& handle : entry.versions) {
    if (handle->info().version == version) return handle;
  }
  return nullptr;
}

ordered_json VersionsJson(const ServedModels::Entry& entry) {
  ordered_json versions = ordered_json::array();
  for (const ModelHandle& handle : entry.versions) {
    const TrafficCounts counts = CountsOf(handle->metrics());
    versions.push_back({{"version", handle->info().version},
                        {"percent", static_cast<double>(handle->metrics().traffic_points.Value()) / 100},
                        {"requests", counts.answered},
                        {"errors", counts.errors},
                        {"p99_ms", 1000 * Quantile(counts.latency, 0.99)}});
  }
  return versions;
}

}  // namespace

TrafficApi::TrafficApi(ServedModels& models, ManagementApi& management, TrafficOptions options)
    : models_(models), management_(management), options_(std::move(options)) {}

Result<ManagementReply> TrafficApi::Describe(const std::string& model) {
  const Result<ServedModels::Entry> entry = models_.Get(model);
  if (!entry) return entry.error();
  ManagementReply reply;
  reply.body = {{"model", entry->name}, {"default_version", entry->default_version}};
  reply.body.update(PlanJson(entry->traffic.plan ? *entry->traffic.plan : TrafficPlan{}));
  if (!entry->traffic.why.empty()) {
    reply.body["why"] = entry->traffic.why;
    reply.body["since"] = UtcText(entry->traffic.since);
  }
  if (!entry->follow.empty()) reply.body["follow"] = entry->follow;
  reply.body["versions"] = VersionsJson(*entry);
  if (entry->traffic.plan && entry->traffic.plan->shadow) {
    if (const ModelHandle handle = VersionOf(*entry, entry->traffic.plan->shadow->version))
      reply.body["shadow"]["results"] = ShadowJson(handle->metrics());
  }
  if (entry->traffic.plan && entry->traffic.plan->rule) {
    const std::lock_guard lock(mutex_);
    const auto running = running_.find(model);
    const bool judged = running != running_.end() && running->second.plan == entry->traffic.plan;
    reply.body["rule"]["verdict"] = judged ? running->second.why : "not looked at yet";
  }
  ordered_json history = ordered_json::array();
  for (auto state = entry->history.rbegin(); state != entry->history.rend(); ++state)
    history.push_back(StateJson(*state));
  reply.body["history"] = std::move(history);
  return reply;
}

Result<ManagementReply> TrafficApi::Done(const std::string& model, Status status) {
  if (!status.ok()) return status;
  management_.NoteTraffic();
  return Describe(model);
}

Result<ManagementReply> TrafficApi::SetPlan(const std::string& model, std::string_view how,
                                            const json& object, bool replace) {
  std::vector<std::string> members;
  for (const auto& [name, value] : object.items()) members.push_back(name);
  const std::string why = fmt::format("{} {} by a call", fmt::join(members, ", "), how);
  return Done(model, models_.ChangeTraffic(model, why, nullptr, [&](TrafficState& state) -> Status {
    TrafficPlan plan;
    if (!replace && state.plan) plan = *state.plan;
    if (!state.plan || replace) plan.sticky_header = options_.sticky_header;
    if (Status status = ChangePlan(object, state.default_version, plan); !status.ok()) return status;
    state.plan = std::make_shared<const TrafficPlan>(std::move(plan));
    return {};
  }));
}

Result<ManagementReply> TrafficApi::Replace(const std::string& model, const json& plan) {
  return SetPlan(model, "replaced", plan, true);
}

Result<ManagementReply> TrafficApi::Change(const std::string& model, const json& change) {
  return SetPlan(model, "changed", change, false);
}

Result<ManagementReply> TrafficApi::Remove(const std::string& model) {
  return Done(model, models_.ChangeTraffic(model, "removed by a call", nullptr, [](TrafficState& state) {
    state.plan.reset();
    return Status{};
  }));
}

Result<ManagementReply> TrafficApi::Promote(const std::string& model, const std::string& version) {
  std::string winner = version;
  if (winner.empty()) {
    const Result<ServedModels::Entry> entry = models_.Get(model);
    if (!entry) return entry.error();
    std::vector<std::string> tried;
    if (entry->traffic.plan) {
      for (const TrafficShare& share : entry->traffic.plan->shares) {
        if (share.version != entry->default_version) tried.push_back(share.version);
      }
    }
    if (tried.size() != 1) {
      return InvalidArgument(
          fmt::format("Parameter version is required: {} versions of model {} are tried out.",
                      tried.empty() ? "no" : std::to_string(tried.size()), model));
    }
    winner = tried.front();
  }
  return Done(model,
              models_.Promote(model, winner, fmt::format("version {} was promoted by a call", winner)));
}

Result<ManagementReply> TrafficApi::Rollback(const std::string& model) {
  return Done(model, models_.Rollback(model));
}

void TrafficApi::JudgeRules(TimePoint now) {
  const std::vector<ServedModels::Entry> entries = models_.List();
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(running_, [&](const auto& item) {
      return std::none_of(entries.begin(), entries.end(), [&](const ServedModels::Entry& entry) {
        return entry.name == item.first && entry.traffic.plan == item.second.plan;
      });
    });
  }
  for (const ServedModels::Entry& entry : entries) {
    if (entry.traffic.plan && entry.traffic.plan->rule) JudgeRule(entry, now);
  }
}

void TrafficApi::JudgeRule(const ServedModels::Entry& entry, TimePoint now) {
  const std::shared_ptr<const TrafficPlan> plan = entry.traffic.plan;
  const std::string candidate = plan->shares.front().version;  // the default one is the last
  const ModelHandle tried = VersionOf(entry, candidate);
  const ModelHandle stable = VersionOf(entry, entry.default_version);
  if (!tried || !stable) return;
  const TrafficCounts tried_now = CountsOf(tried->metrics());
  const TrafficCounts stable_now = CountsOf(stable->metrics());
  Verdict verdict;
  {
    const std::lock_guard lock(mutex_);
    Running& running = running_[entry.name];
    if (running.plan != plan) running = {plan, now, tried_now, stable_now, {}};
    verdict = Judge(*plan->rule, {candidate, Since(tried_now, running.candidate)},
                    {entry.default_version, Since(stable_now, running.stable)},
                    std::chrono::duration_cast<std::chrono::seconds>(now - running.since));
    running.why = verdict.why;
  }
  if (verdict.what == Verdict::What::kWait) return;
  const bool promote = verdict.what == Verdict::What::kPromote;
  const std::string why = fmt::format("version {} was {} by the rule: {}", candidate,
                                      promote ? "promoted" : "rolled back", verdict.why);
  // Somebody may have changed the plan meanwhile: then it is not this rule's business any more.
  const Status status = promote ? models_.Promote(entry.name, candidate, why, plan.get())
                                : models_.StopSharing(entry.name, why, plan.get());
  if (!status.ok()) {
    LogWarning("model {}: the rule could not act: {}", entry.name, status.message);
    return;
  }
  const auto decision = promote ? TrafficDecision::kPromoted : TrafficDecision::kRolledBack;
  tried->metrics().decisions[static_cast<std::size_t>(decision)].Add();
  management_.NoteTraffic();
}

}  // namespace serve
