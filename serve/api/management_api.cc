#include "serve/api/management_api.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "serve/api/describe.h"
#include "serve/api/page.h"
#include "serve/api/traffic_state.h"
#include "serve/base/log.h"

namespace serve {
namespace {

using nlohmann::ordered_json;
using Outcome = ManagementReply::Outcome;

constexpr int kMaxWorkers = 1024;

ManagementReply Reply(Outcome outcome, std::string text) { return {outcome, {{"status", std::move(text)}}}; }

}  // namespace

ManagementApi::ManagementApi(ServedModels& models, Loader& loader, ManagementOptions options)
    : models_(models), loader_(loader), options_(std::move(options)), sources_(options_) {
  if (!options_.snapshot_folder.empty()) snapshots_.emplace(options_.snapshot_folder);
}

Status ManagementApi::RefuseModelApi(std::string_view what) const {
  if (options_.allow_model_api) return {};
  return {Code::kMethodNotAllowed,
          fmt::format("Requested method is not allowed, please refer to API document. {} is off here: start "
                      "the server with --enable-model-api, or keep the management listener on a loopback "
                      "address.",
                      what)};
}

Result<ManagementReply> ManagementApi::Register(const RegisterRequest& request) {
  if (request.workflow.empty() && !request.by_server) {  // else it was asked for the whole
    if (Status status = RefuseModelApi("Registering"); !status.ok()) return status;
  }
  const Result<Registered> done = RegisterWith(request, {.workers = options_.default_workers});
  if (!done) return done.error();
  if (request.workflow.empty()) WriteSnapshot("snapshot");
  if (done->workers == 0) {
    return Reply(Outcome::kDone,
                 fmt::format("Model \"{}\" Version: {} registered with 0 initial workers. Use scale "
                             "workers API to add workers for the model.",
                             done->name, done->version));
  }
  if (!request.synchronous) return Reply(Outcome::kAccepted, "Processing worker updates...");
  return Reply(Outcome::kDone, fmt::format("Model \"{}\" Version: {} registered with {} initial workers",
                                           done->name, done->version, done->workers));
}

Result<ManagementReply> ManagementApi::Describe(const std::string& model, const std::string& version,
                                                bool customized) const {
  const Result<ServedModels::Entry> entry = models_.Get(model);
  if (!entry) return entry.error();
  ManagementReply reply{Outcome::kDone, ordered_json::array()};
  const bool all = version == "all";
  const std::string& wanted = version.empty() ? entry->default_version : version;
  for (const ModelHandle& handle : entry->versions) {
    const std::string& text = handle->info().version;
    if (!all && text != wanted) continue;
    if (customized && !all && handle->RunningWorkers() == 0) {
      return Status{Code::kUnavailable,
                    fmt::format("Model \"{}\" has no worker to serve describe request. Please use scale "
                                "workers API to add workers.",
                                model)};
    }
    reply.body.push_back(DescribeVersion(*handle, text == entry->default_version, customized && !all));
    if (ordered_json traffic = VersionTrafficJson(*entry, *handle); !traffic.is_null())
      reply.body.back()["traffic"] = std::move(traffic);
  }
  if (reply.body.empty()) {
    return Status{Code::kVersionNotFound,
                  fmt::format("Model version: {} does not exist for model: {}", version, model)};
  }
  return reply;
}

Result<ManagementReply> ManagementApi::List(int limit, int next_page_token) const {
  const std::vector<ServedModels::Entry> entries = models_.List();
  const Page page = PageOf(entries.size(), limit, next_page_token);
  ManagementReply reply;
  if (page.has_next) reply.body["nextPageToken"] = std::to_string(page.end);
  ordered_json models = ordered_json::array();
  for (std::size_t i = page.begin; i < page.end; ++i) {
    const ServedModels::Entry& entry = entries[i];
    for (const ModelHandle& handle : entry.versions) {
      if (handle->info().version != entry.default_version) continue;
      models.push_back({{"modelName", entry.name}, {"modelUrl", handle->info().url}});
    }
  }
  reply.body["models"] = std::move(models);
  return reply;
}

Result<ManagementReply> ManagementApi::Scale(const ScaleRequest& request) {
  Result<ModelHandle> found = models_.Find(request.model, request.version);
  if (!found) return found.error();
  const int max = request.max_worker.value_or(request.min_worker);
  if (request.min_worker < 0 || max > kMaxWorkers) {
    return InvalidArgument(fmt::format("min_worker is {} and max_worker {}; allowed: 0 to {}.",
                                       request.min_worker, max, kMaxWorkers));
  }
  if (max < request.min_worker) return InvalidArgument("max_worker cannot be less than min_worker.");
  (*found)->Scale(request.min_worker, max, request.synchronous);
  (*found)->NoteScaled();
  WriteSnapshot("snapshot");
  if (!request.synchronous) return Reply(Outcome::kAccepted, "Processing worker updates...");
  std::string text = fmt::format("Workers scaled to {} for model: {}", request.min_worker, request.model);
  if (!request.version.empty()) text += fmt::format(", version: {}", request.version);
  return Reply(Outcome::kDone, std::move(text));
}

Result<ManagementReply> ManagementApi::SetDefault(const std::string& model, const std::string& version) {
  Status status =
      models_.Promote(model, version, fmt::format("version {} was made the default one", version));
  if (!status.ok()) return status;
  WriteSnapshot("snapshot");
  return Reply(Outcome::kDone, fmt::format("Default version successfully updated for model \"{}\" to \"{}\"",
                                           model, version));
}

bool ManagementApi::IsSource(const std::string& file) const {
  for (const ServedModels::Entry& entry : models_.List()) {
    for (const ModelHandle& version : entry.versions) {
      if (version->info().source == file) return true;
    }
  }
  return false;
}

Result<ManagementReply> ManagementApi::Unregister(const std::string& model, const std::string& version,
                                                  bool by_server) {
  if (Status status = by_server ? Status() : RefuseModelApi("Unregistering"); !status.ok()) return status;
  VersionInfo removed;
  {
    const Result<ModelHandle> found = models_.Find(model, version);
    if (!found) return found.error();
    removed = (*found)->info();
  }
  if (const std::string& workflow = removed.call.workflow; !workflow.empty()) {
    return Status{Code::kConflict,
                  fmt::format("Model {} is a part of the workflow {} and goes with it: DELETE /workflows/{}",
                              model, workflow, workflow)};
  }
  if (Status status = Remove(removed); !status.ok()) return status;
  WriteSnapshot("snapshot");
  LogInfo("Model {}{}{} unregistered.", model, version.empty() ? "" : " version ", version);
  return Reply(Outcome::kDone, fmt::format("Model \"{}\" unregistered", model));
}

Status ManagementApi::Remove(const VersionInfo& version) {
  Status status = models_.Remove(version.name, version.version, options_.unregister_timeout);
  const bool gone = status.ok() || status.code == Code::kReadTimeout;  // a request runs on, without the file
  if (gone && IsFetchUrl(version.url) && !IsSource(version.source)) sources_.Remove(version.source);
  return status;
}

Status ManagementApi::UnregisterModelsOf(const std::string& workflow) {
  std::vector<VersionInfo> parts;  // without a lease: whoever removes a version waits for them
  for (const ServedModels::Entry& entry : models_.List()) {
    for (const ModelHandle& version : entry.versions) {
      if (version->info().call.workflow != workflow) continue;
      parts.push_back(version->info());
      // Somebody may have added a version of his own under this name.
      for (const ModelHandle& other : entry.versions) {
        if (other->info().call.workflow != workflow)
          (void)models_.SetDefault(entry.name, other->info().version);
      }
    }
  }
  Status first;
  for (const VersionInfo& part : parts) {
    Status status = Remove(part);
    if (first.ok()) first = std::move(status);
  }
  return first;
}

}  // namespace serve
