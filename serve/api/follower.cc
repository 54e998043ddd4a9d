#include "serve/api/follower.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "model_store/archive/manifest.h"
#include "serve/base/log.h"

namespace serve {
namespace {

constexpr const char* kTag = "flambeau.check";
constexpr std::string_view kScheme = "models:/";
constexpr std::size_t kLongestTag = 4000;

/// Whether the same call may succeed later: the registry or the store had no time, the version is not to
/// blame.
bool MayPass(Code code) {
  return code == Code::kDownloadFailed || code == Code::kUnavailable || code == Code::kDeadlineExceeded ||
         code == Code::kResourceExhausted || code == Code::kReadTimeout;
}

}  // namespace

Result<std::vector<Followed>> ParseFollowed(std::string_view text) {
  std::vector<Followed> list;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::string_view item = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (item.empty()) continue;
    const std::string_view whole = item;
    if (item.starts_with(kScheme)) item.remove_prefix(kScheme.size());
    const std::size_t at = item.find('@');
    if (at == std::string_view::npos || at + 1 == item.size() || !CheckModelName(item.substr(0, at)).ok())
      return InvalidArgument(fmt::format("`{}` is not of the form models:/NAME@ALIAS", whole));
    list.push_back({std::string(item.substr(0, at)), std::string(item.substr(at + 1))});
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (list[i].model == list[j].model)
        return InvalidArgument(fmt::format("model {} follows two aliases", list[i].model));
    }
  }
  return list;
}

Follower::Follower(ServedModels& models, ManagementApi& management, ModelRegistry& registry, Metrics& metrics,
                   FollowOptions options, std::vector<Followed> followed)
    : models_(models),
      management_(management),
      registry_(registry),
      metrics_(metrics),
      options_(std::move(options)) {
  for (Followed& one : followed) ones_.push_back({std::move(one), {}, {}, {}, false});
}

void Follower::Look() {
  const std::lock_guard lock(mutex_);
  busy_ = true;
  for (One& one : ones_) {
    if (!stopped_) LookAt(one);
  }
  metrics_.follow_failing.Set(
      std::count_if(ones_.begin(), ones_.end(), [](const One& one) { return one.failing; }));
  busy_ = false;
}

void Follower::LookAt(One& one) {
  const Result<std::string> meant = registry_.VersionOfAlias(one.followed.model, one.followed.alias);
  if (!meant) return Note(one, fmt::format("the registry does not answer: {}", meant.error().message), true);
  const std::string& version = *meant;
  if (version == one.failed) return;  // the note says why
  one.failed.clear();
  Facts facts = Read(one.followed.model, version);
  if (!facts.there) {
    if (!Load(one, version)) return;
    facts = Read(one.followed.model, version);
    if (!facts.there) return;  // somebody unregistered it again
  }
  if (facts.is_default) return Passed(one, version, facts.older);
  if (facts.tried_out) return Note(one, fmt::format("version {} is tried out", version));
  if (one.trying != version) return Shift(one, version);
  // Its canary ended, and not well.
  (void)management_.Unregister(one.followed.model, version, true);
  Failed(one, version, facts.why);
}

/// Without a lease: whoever removes a version waits for all of them.
Follower::Facts Follower::Read(const std::string& model, const std::string& version) const {
  Facts facts;
  const Result<ServedModels::Entry> entry = models_.Get(model);
  if (!entry) return facts;
  const std::shared_ptr<const TrafficPlan>& plan = entry->traffic.plan;
  facts.is_default = entry->default_version == version;
  facts.tried_out = plan && plan->PointsOf(version, entry->default_version) > 0;
  facts.why = entry->traffic.why;
  for (const ModelHandle& handle : entry->versions) {
    const VersionInfo& info = handle->info();
    if (info.version == version) {
      facts.there = true;
    } else if (info.url == registry_.UrlOf(info.name, info.version) &&
               (!plan || plan->UsesOf(info.version).empty())) {
      facts.older.push_back(info.version);  // others came by another way and are somebody else's
    }
  }
  return facts;
}

bool Follower::Load(One& one, const std::string& version) {
  RegisterRequest request;
  request.url = registry_.UrlOf(one.followed.model, version);
  request.model_name = one.followed.model;
  request.version = version;
  request.by_server = true;
  request.initial_workers = options_.workers;
  if (const auto serving = models_.Find(one.followed.model, {}); serving)  // as many as it has now
    request.initial_workers = std::max(1, (*serving)->MinWorkers());
  Note(one, fmt::format("alias {} means version {}: loading {}", one.followed.alias, version, request.url));
  const Result<ManagementReply> done = management_.Register(request);
  if (done) return true;
  if (MayPass(done.error().code)) {
    Note(one, fmt::format("version {} could not be fetched, trying again: {}", version, done.error().message),
         true);
  } else {
    Failed(one, version, done.error().message);
  }
  return false;
}

void Follower::Shift(One& one, const std::string& version) {
  const std::string& model = one.followed.model;
  const std::string why = fmt::format("alias {} means version {}", one.followed.alias, version);
  Status status;
  if (options_.canary_percent <= 0) {
    status = models_.Promote(model, version, why);
  } else {
    const nlohmann::json change = {{"weights", {{version, options_.canary_percent}}},
                                   {"rule", {{"promote_after", options_.promote_after}}}};
    status = models_.ChangeTraffic(model, why, nullptr, [&](TrafficState& state) -> Status {
      TrafficPlan plan = state.plan ? *state.plan : TrafficPlan{};
      if (Status changed = ChangePlan(change, state.default_version, plan); !changed.ok()) return changed;
      state.plan = std::make_shared<const TrafficPlan>(std::move(plan));
      return {};
    });
  }
  if (!status.ok())
    return Note(one, fmt::format("version {} gets no requests: {}", version, status.message), true);
  one.trying = version;
  management_.NoteTraffic();
  Note(one,
       fmt::format("{}: {}", why, options_.canary_percent > 0 ? "it is tried out" : "it gets all requests"));
  if (options_.canary_percent <= 0) LookAt(one);  // the one before it can go
}

void Follower::Passed(One& one, const std::string& version, const std::vector<std::string>& older) {
  one.trying.clear();
  if (const std::string note = fmt::format("version {} is served", version); one.note != note) {
    Note(one, note);
    Tag(one, version, "passed");
  }
  for (const std::string& old : older) {
    if (const auto gone = management_.Unregister(one.followed.model, old, true); !gone)
      LogWarning("following {}@{}: version {} stays: {}", one.followed.model, one.followed.alias, old,
                 gone.error().message);
  }
}

void Follower::Failed(One& one, const std::string& version, const std::string& why) {
  one.failed = version;
  one.trying.clear();
  Note(one, fmt::format("version {} is not served: {}", version, why), true);
  Tag(one, version, "failed: " + why);
}

void Follower::Note(One& one, std::string text, bool warn) {
  models_.NoteFollow(one.followed.model, fmt::format("{}: {}", one.followed.alias, text));
  one.failing = warn;
  if (text == one.note) return;  // the log says it once
  one.note = std::move(text);
  if (warn) {
    LogWarning("following {}@{}: {}", one.followed.model, one.followed.alias, one.note);
  } else {
    LogInfo("following {}@{}: {}", one.followed.model, one.followed.alias, one.note);
  }
}

void Follower::Tag(const One& one, const std::string& version, const std::string& value) {
  const Status status =
      registry_.SetVersionTag(one.followed.model, version, kTag, value.substr(0, kLongestTag));
  if (!status.ok())
    LogWarning("following {}@{}: version {} has no tag {}: {}", one.followed.model, one.followed.alias,
               version, kTag, status.message);
}

}  // namespace serve
