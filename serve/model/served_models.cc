#include "serve/model/served_models.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "serve/base/log.h"
#include "serve/model/served_table.h"
#include "serve/telemetry/metrics.h"

namespace serve {
namespace {

/// One part of a version text, up to the next dot: a number when it is all digits.
struct Part {
  std::string_view text;
  std::uint64_t number = 0;
  bool numeric = false;
};

Part NextPart(std::string_view& rest) {
  Part part;
  const std::size_t dot = rest.find('.');
  part.text = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  const char* end = part.text.data() + part.text.size();
  const auto [stop, error] = std::from_chars(part.text.data(), end, part.number);
  part.numeric = error == std::errc() && stop == end;
  return part;
}

}  // namespace

bool VersionLess(std::string_view left, std::string_view right) {
  if (left == right) return false;  // what every request asks of the one version there is
  std::string_view left_rest = left;
  std::string_view right_rest = right;
  while (!left_rest.empty() && !right_rest.empty()) {
    const Part a = NextPart(left_rest);
    const Part b = NextPart(right_rest);
    if (a.numeric && b.numeric) {
      if (a.number != b.number) return a.number < b.number;
    } else if (a.text != b.text) {
      return a.text < b.text;
    }
  }
  if (left_rest.empty() != right_rest.empty()) return left_rest.empty();
  return left < right;  // "1.0" and "01.0" are two versions
}

Status ServedModels::Table::NotFound(std::string_view model) {
  return {Code::kModelNotFound, fmt::format("Model not found: {}", model)};
}
Status ServedModels::Table::NotFound(std::string_view model, std::string_view version) {
  return {Code::kVersionNotFound,
          fmt::format("Model version: {} does not exist for model: {}", version, model)};
}

ServedModels::ServedModels() { table_.Publish(std::make_shared<const Table>()); }

ServedModels::~ServedModels() { DrainAll(TimePoint::max()); }

Result<ModelHandle> ServedModels::Find(std::string_view model, std::string_view version) const {
  return Find(*table_.Get(), model, version);
}

Result<ModelHandle> ServedModels::Find(const Table& table, std::string_view model, std::string_view version) {
  const auto found = table.models.find(model);
  if (found == table.models.end()) return version.empty() ? FindAlias(table, model) : Table::NotFound(model);
  const auto& versions = found->second.versions;
  const auto entry =
      versions.find(version.empty() ? std::string_view(found->second.default_version) : version);
  if (entry == versions.end()) return Table::NotFound(model, version);
  return entry->second;
}

bool ServedModels::Contains(std::string_view model, std::string_view version) const {
  return Find(model, version).has_value();
}

Status ServedModels::Add(ModelHandle version) {
  std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const VersionInfo& info = version->info();
  Table::Model& model = table->models[info.name];
  if (!model.versions.emplace(info.version, version).second)
    return AlreadyRegistered(info.name, info.version);
  if (model.default_version.empty()) model.default_version = info.version;
  start_failures_.erase(info.url);
  model.ShowWeights();
  table_.Publish(std::move(table));
  return {};
}

Status ServedModels::AlreadyRegistered(std::string_view model, std::string_view version) {
  return {Code::kConflict,
          fmt::format("Model version {} is already registered for model {}", version, model)};
}

Status ServedModels::SetDefault(std::string_view model, std::string_view version) {
  std::lock_guard lock(change_mutex_);
  auto table = std::make_shared<Table>(*table_.Get());
  const auto found = table->models.find(model);
  if (found == table->models.end()) return Table::NotFound(model);
  if (found->second.versions.find(version) == found->second.versions.end()) {
    return {Code::kVersionNotFound,
            fmt::format("Model version {} does not exist for model {}", version, model)};
  }
  found->second.default_version = version;
  found->second.plan.reset();
  found->second.ShowWeights();
  table_.Publish(std::move(table));
  return {};
}

Status ServedModels::Remove(std::string_view model, std::string_view version, SteadyClock::duration timeout) {
  ModelHandle removed;
  {
    std::lock_guard lock(change_mutex_);
    auto table = std::make_shared<Table>(*table_.Get());
    const auto found = table->models.find(model);
    if (found == table->models.end()) return Table::NotFound(model);
    const std::string& default_version = found->second.default_version;
    auto& versions = found->second.versions;
    const auto entry = versions.find(version.empty() ? std::string_view(default_version) : version);
    if (entry == versions.end()) return Table::NotFound(model, version);
    if (entry->first == default_version && versions.size() > 1) {
      return {Code::kDefaultVersion,
              fmt::format(
                  "Cannot remove default version for model {}. Make another version the default first: PUT "
                  "/models/{}/<version>/set-default",
                  model, model)};
    }
    const std::shared_ptr<const TrafficPlan>& plan = found->second.plan;
    if (const std::string uses = plan && versions.size() > 1 ? plan->UsesOf(entry->first) : "";
        !uses.empty()) {
      return {Code::kConflict,
              fmt::format("Version {} of model {} still has traffic: {}. Take it away first: PATCH or DELETE "
                          "/traffic/{}, or POST /traffic/{}/rollback",
                          entry->first, model, uses, model, model)};
    }
    removed = entry->second;
    versions.erase(entry);
    if (versions.empty()) table->models.erase(found);
    table_.Publish(std::move(table));
  }
  return Retire(std::move(removed), SteadyClock::now() + timeout);
}

Status ServedModels::Retire(ModelHandle version, TimePoint deadline) {
  // Every request that found the version before it left the table holds a lease until it is answered, also
  // one that is just about to be queued: wait for all of them first, so that none meets a closed queue. This
  // also keeps the last lease here: a version joins its workers when it dies, which none of them nor an I/O
  // thread can do.
  while (version.use_count() > 1 && SteadyClock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (version->Close(deadline) && version.use_count() == 1) return {};
  const std::string name = version->info().name;
  std::lock_guard lock(change_mutex_);
  stuck_.push_back(std::move(version));
  return {Code::kReadTimeout,
          fmt::format("Timed out while cleaning resources: {}. A request is still running; the "
                      "version takes no new ones.",
                      name)};
}

void ServedModels::DrainAll(TimePoint deadline) {
  std::vector<ModelHandle> versions;
  {
    std::lock_guard lock(change_mutex_);
    const std::shared_ptr<const Table> table = table_.Get();
    for (const auto& [name, model] : table->models) {
      for (const auto& [text, version] : model.versions) versions.push_back(version);
    }
    table_.Publish(std::make_shared<const Table>());
  }
  // In parallel: each may need the whole grace period.
  std::vector<std::jthread> closers;
  closers.reserve(versions.size());
  for (ModelHandle& version : versions) {
    closers.emplace_back([this, deadline, handle = std::move(version)]() mutable {
      const Status retired = Retire(std::move(handle), deadline);
      if (!retired.ok()) LogWarning("{}", retired.message);
    });
  }
}

std::vector<ServedModels::Entry> ServedModels::List() const {
  std::vector<Entry> entries;
  const std::shared_ptr<const Table> table = table_.Get();
  for (const auto& [name, model] : table->models) {
    Entry& entry = entries.emplace_back(
        Entry{name, model.default_version, {}, model.State(), model.follow, model.history});
    for (const auto& [text, version] : model.versions) entry.versions.push_back(version);
  }
  return entries;
}

Result<ServedModels::Entry> ServedModels::Get(std::string_view model) const {
  for (Entry& entry : List()) {
    if (entry.name == model) return std::move(entry);
  }
  return Table::NotFound(model);
}

void ServedModels::NoteStartFailure(const std::string& url, const std::string& why) {
  std::lock_guard lock(change_mutex_);
  start_failures_[url] = why;
}

void ServedModels::NoteStartLoading(const std::string& url, bool loading) {
  std::lock_guard lock(change_mutex_);
  if (loading) {
    start_loading_.insert(url);
  } else {
    start_loading_.erase(url);
  }
}

bool ServedModels::Ready(std::string* why) const {
  std::string reason;
  if (draining_.load()) {
    reason = "the server is shutting down";
  } else if (starting_.load()) {
    reason = "models are loading";
    std::lock_guard lock(change_mutex_);
    for (const std::string& url : start_loading_) {
      reason +=
          (&url == &*start_loading_.begin() ? ": " : ", ") + std::filesystem::path(url).filename().string();
    }
  } else if (std::lock_guard lock(change_mutex_); !start_failures_.empty()) {
    reason = start_failures_.begin()->second;
  } else {
    const std::shared_ptr<const Table> table = table_.Get();
    for (const auto& [name, model] : table->models) {
      for (const auto& [text, version] : model.versions) {
        const std::uint32_t points = model.plan ? model.plan->PointsOf(text, model.default_version) : 0;
        if (points == 0 && text != model.default_version) continue;
        if (version->RunningWorkers() < version->MinWorkers()) {
          reason = fmt::format("model {} version {} has {} of {} workers", name, text,
                               version->RunningWorkers(), version->MinWorkers());
        }
      }
    }
  }
  if (why != nullptr) *why = reason;
  return reason.empty();
}

}  // namespace serve
