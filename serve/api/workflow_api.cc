#include "serve/api/workflow_api.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "model_store/archive/workflow_archive.h"
#include "serve/api/page.h"
#include "serve/api/wire_codes.h"
#include "serve/base/log.h"
#include "serve/workflow/run.h"

namespace serve {
namespace {

using nlohmann::ordered_json;
using Outcome = ManagementReply::Outcome;

/// Together with a node's name it must still be a model's name.
constexpr std::size_t kLongestName = 100;

/// The same sources with another store.
ManagementOptions WithWorkflowStore(ManagementOptions options) {
  if (!options.workflow_store.empty()) options.model_store = options.workflow_store;
  return options;
}

Status CheckName(const std::string& name) {
  if (name.size() <= kLongestName && CheckModelName(name).ok()) return {};
  return InvalidArgument(fmt::format(
      "a workflow's name is 1 to {} letters, digits, `_`, `-` and `.`, not `{}`; workflow_name gives another",
      kLongestName, name.substr(0, kLongestName)));
}

/// Counts one answer. A client that has gone counts as 4xx, as in the access log.
void Count(const Workflow& workflow, const RequestContext& context, const Result<Response>& result) {
  const TimePoint now = SteadyClock::now();
  int http = result ? 200 : ToWire(result.error().code).http;
  if (context.Cancelled()) http = now >= context.deadline ? 504 : 499;
  workflow.metrics->requests[static_cast<std::size_t>(std::clamp(http / 100, 1, 5) - 1)].Add();
  workflow.metrics->duration.Observe(std::chrono::duration<double>(now - context.arrival).count());
}

ordered_json NodeJson(const Workflow& workflow, std::size_t node) {
  const NodeSpec& spec = workflow.specification.nodes[node];
  ordered_json json = {{"name", workflow.specification.graph.names[node]}};
  if (spec.function != NodeFunction::kNone) {
    json["function"] = NodeFunctionName(spec.function);
    return json;
  }
  json["modelName"] = workflow.ModelOf(node);
  json["modelUrl"] = spec.url;
  json["minWorkers"] = spec.settings.min_workers;
  json["maxWorkers"] = spec.settings.max_workers;
  json["batchSize"] = spec.settings.batch_size;
  json["maxBatchDelay"] = spec.settings.max_batch_delay.count();
  json["retryAttempts"] = spec.settings.retry_attempts;
  json["timeoutMs"] = spec.settings.timeout.count();
  return json;
}

Result<Response> Render(InferenceApi& inference, Result<Prediction> predicted) try {
  if (!predicted) return predicted.error();
  return inference.Render(std::move(*predicted));
} catch (const std::exception& error) {  // no connection stands around it that would catch
  return Internal(error.what());
}

}  // namespace

class WorkflowApi::Reservation {
 public:
  Reservation(WorkflowApi& api, std::string name) : api_(api), name_(std::move(name)) {
    const std::lock_guard lock(api_.mutex_);
    held_ = api_.reserved_.insert(name_).second;
  }
  ~Reservation() {
    if (!held_) return;
    const std::lock_guard lock(api_.mutex_);
    api_.reserved_.erase(name_);
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  [[nodiscard]] Status Check() const {
    if (held_) return {};
    return {Code::kConflict,
            fmt::format("Workflow {} is being registered or removed by another call; try again when that is "
                        "done.",
                        name_)};
  }

 private:
  WorkflowApi& api_;
  const std::string name_;
  bool held_ = false;
};

WorkflowApi::WorkflowApi(ManagementApi& management, InferenceApi& inference, Metrics& metrics,
                         ManagementOptions options, std::filesystem::path unpack_folder, UnpackLimits limits)
    : management_(management),
      inference_(inference),
      metrics_(metrics),
      options_(WithWorkflowStore(std::move(options))),
      unpack_folder_(std::move(unpack_folder)),
      limits_(limits),
      sources_(options_) {}

Result<ArchiveSource> WorkflowApi::FindSource(const std::string& url) const {
  if (url.empty()) return Status{Code::kWorkflowNotFound, "Workflow not found at: "};
  if (IsSourceUri(url)) {  // a restart looks for it in the store
    return Status{
        Code::kWorkflowNotFound,
        fmt::format("Workflow not found at: {} (workflow archives are fetched from http, https and file)",
                    url)};
  }
  Result<ArchiveSource> source = sources_.Find(url, false);
  if (source || source.error().code != Code::kModelNotFound) return source;
  Status status{Code::kWorkflowNotFound, source.error().message};
  const bool local = url.find("..") == std::string::npos && url.find(':') == std::string::npos;
  if (local && !options_.model_store.empty()) {
    status.message = fmt::format("Workflow not found in workflow store: {}",
                                 std::filesystem::path(url).filename().string());
  }
  return status;
}

Result<ManagementReply> WorkflowApi::Register(const std::string& url,
                                              const std::optional<std::string>& name) {
  if (Status status = management_.RefuseModelApi("Registering"); !status.ok()) return status;
  if (name) {
    if (Status status = CheckName(*name); !status.ok()) return status;
    if (table_.Find(*name)) return WorkflowTable::AlreadyRegistered(*name);
  }
  const Result<ArchiveSource> source = FindSource(url);
  if (!source) return source.error();
  const Result<std::string> registered = RegisterFrom(*source, url, name);
  if (!registered) {
    sources_.Discard(*source);
    return registered.error();
  }
  NoteChange();
  LogInfo("Workflow {} registered from {}.", *registered, url);
  return ManagementReply{
      Outcome::kDone,
      {{"status", fmt::format("Workflow {} has been registered and scaled successfully.", *registered)}}};
}

void WorkflowApi::NoteChange() {
  const std::lock_guard lock(note_mutex_);
  std::vector<SnapshotWorkflow> workflows;
  for (const WorkflowHandle& workflow : table_.List()) {
    workflows.push_back({workflow->name, workflow->url, workflow->source});
  }
  management_.NoteWorkflows(std::move(workflows));
}

std::vector<Status> WorkflowApi::Restore(const std::vector<SnapshotWorkflow>& workflows) {
  std::vector<Status> failed;
  for (const SnapshotWorkflow& workflow : workflows) {
    const Result<ArchiveSource> source = FindSource(workflow.file);  // what was fetched lies there
    const Result<std::string> done =
        source ? RegisterFrom(*source, workflow.url, workflow.name) : Result<std::string>(source.error());
    // Somebody may have registered it in the meantime.
    if (done || done.error().code == Code::kConflict) continue;
    LogError("Failed to restore workflow {}: {}", workflow.name, done.error().message);
    failed.push_back(done.error());
  }
  NoteChange();
  return failed;
}

Result<std::string> WorkflowApi::RegisterFrom(const ArchiveSource& source, const std::string& url,
                                              const std::optional<std::string>& name) {
  const SpecificationLimits limits{.max_nodes = options_.max_workflow_nodes};
  Result<WorkflowArchive> archive =
      ReadWorkflowArchive(source.path, unpack_folder_, limits_, limits.max_bytes);
  if (!archive) return archive.error();
  auto workflow = std::make_shared<Workflow>();
  workflow->name = name.value_or(archive->manifest.workflow_name);
  if (Status status = CheckName(workflow->name); !status.ok()) return status;
  Result<Specification> specification = ParseSpecification(archive->specification, limits);
  if (!specification) return specification.error();
  workflow->specification = std::move(*specification);
  workflow->url = url;
  workflow->source = source.path.filename().string();
  workflow->default_timeout = DefaultTimeout(workflow->specification);
  if (workflow->default_timeout.count() == 0) workflow->default_timeout = options_.defaults.response_timeout;
  workflow->metrics = metrics_.ForWorkflow(workflow->name);

  const Reservation reservation(*this, workflow->name);
  if (Status status = reservation.Check(); !status.ok()) return status;
  if (table_.Find(workflow->name)) return WorkflowTable::AlreadyRegistered(workflow->name);
  if (Status status = RegisterModels(*workflow); !status.ok()) {
    if (const Status removed = management_.UnregisterModelsOf(workflow->name); !removed.ok())
      LogWarning("workflow {}: {}", workflow->name, removed.message);
    return status;
  }
  const std::string registered = workflow->name;
  if (Status status = table_.Add(std::move(workflow)); !status.ok()) return status;
  return registered;
}

Status WorkflowApi::RegisterModels(const Workflow& workflow) {
  std::string failures;
  const Graph& graph = workflow.specification.graph;
  for (const std::size_t node : graph.order) {
    const NodeSpec& spec = workflow.specification.nodes[node];
    if (spec.function != NodeFunction::kNone) continue;
    RegisterRequest request;
    request.url = spec.url;
    request.model_name = workflow.ModelOf(node);
    request.batch_size = spec.settings.batch_size;
    request.max_batch_delay_ms = static_cast<int>(spec.settings.max_batch_delay.count());
    request.exact_workers = {spec.settings.min_workers, spec.settings.max_workers};
    request.workflow = workflow.name;
    if (const auto done = management_.Register(request); !done) {
      failures += fmt::format("{}Workflow Node {} failed to register. Details: {}",
                              failures.empty() ? "" : ", ", *request.model_name, done.error().message);
    }
    if (graph.previous[node].size() > 1) {
      LogWarning(
          "workflow {}: node {} follows several nodes; built-in handlers read the parts `data` and `body` "
          "only: a merge before it makes one JSON object of them",
          workflow.name, graph.names[node]);
    }
  }
  if (failures.empty()) return {};
  return {Code::kWorkflowFailed,
          fmt::format("Workflow {} has failed to register. Failures: [{}]", workflow.name, failures)};
}

Result<ManagementReply> WorkflowApi::List(int limit, int next_page_token) const {
  const std::vector<WorkflowHandle> workflows = table_.List();
  const Page page = PageOf(workflows.size(), limit, next_page_token);
  ManagementReply reply;
  if (page.has_next) reply.body["nextPageToken"] = std::to_string(page.end);
  ordered_json list = ordered_json::array();
  for (std::size_t i = page.begin; i < page.end; ++i) {
    list.push_back({{"workflowName", workflows[i]->name}, {"workflowUrl", workflows[i]->url}});
  }
  reply.body["workflows"] = std::move(list);
  return reply;
}

Result<ManagementReply> WorkflowApi::Describe(const std::string& name) const {
  const Result<WorkflowHandle> found = table_.Find(name);
  if (!found) return found.error();
  const Workflow& workflow = **found;
  const NodeSettings& defaults = workflow.specification.defaults;
  ordered_json nodes = ordered_json::array();
  for (std::size_t node = 0; node < workflow.specification.graph.size(); ++node) {
    nodes.push_back(NodeJson(workflow, node));
  }
  ManagementReply reply{Outcome::kDone, ordered_json::array()};
  reply.body.push_back({{"workflowName", workflow.name},
                        {"workflowUrl", workflow.url},
                        {"minWorkers", defaults.min_workers},
                        {"maxWorkers", defaults.max_workers},
                        {"batchSize", defaults.batch_size},
                        {"maxBatchDelay", defaults.max_batch_delay.count()},
                        {"workflowDag", GraphText(workflow.specification.graph)},
                        {"timeoutMs", workflow.default_timeout.count()},
                        {"nodes", std::move(nodes)}});
  return reply;
}

Result<ManagementReply> WorkflowApi::Unregister(const std::string& name) {
  if (Status status = management_.RefuseModelApi("Unregistering"); !status.ok()) return status;
  const Reservation reservation(*this, name);
  if (Status status = reservation.Check(); !status.ok()) return status;
  Result<WorkflowHandle> removed = table_.Remove(name);
  if (!removed) return removed.error();
  // Requests that are on their way still need the models; each holds a lease.
  const TimePoint deadline = SteadyClock::now() + options_.unregister_timeout;
  while (removed->use_count() > 1 && SteadyClock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Status status = management_.UnregisterModelsOf(name);
  if (IsFetchUrl((*removed)->url)) sources_.Remove((*removed)->source);
  NoteChange();
  if (!status.ok()) return status;
  LogInfo("Workflow {} unregistered.", name);
  return ManagementReply{Outcome::kDone, {{"status", fmt::format("Workflow \"{}\" unregistered", name)}}};
}

TimePoint WorkflowApi::Predict(std::string_view name, Request request, RequestContext context,
                               WorkflowThread thread, UniqueFunction<void(Result<Response>)> done) {
  Result<WorkflowHandle> found = table_.Find(name);
  if (!found) {
    Status status = found.error();
    if (inference_.Starting()) {  // "not found" would be final where "not yet" is true
      status.code = Code::kUnavailable;
      status.message += " (models are still loading: try again, GET /ping tells when they are)";
    }
    done(std::move(status));
    return context.deadline;
  }
  WorkflowHandle workflow = std::move(*found);
  if (context.deadline == TimePoint::max()) context.deadline = context.arrival + workflow->default_timeout;
  const TimePoint deadline = context.deadline;
  ModelCall call = [&inference = inference_, thread = std::move(thread)](
                       const std::string& model, Request input, RequestContext of_node,
                       UniqueFunction<void(Result<Response>)> answered) {
    auto back = [&inference, post = thread.post,
                 answered = std::move(answered)](Result<Prediction> predicted) mutable {
      // On whatever thread computed it; rendering waits for the request's own.
      post([&inference, predicted = std::move(predicted), answered = std::move(answered)]() mutable {
        answered(Render(inference, std::move(predicted)));
      });
    };
    InferenceApi::Accepted accepted =
        inference.Predict({model, {}, std::move(input), std::move(of_node)}, std::move(back));
    if (accepted.run_here) thread.run_here(std::move(accepted.run_here));
  };
  auto counted = [workflow, context, done = std::move(done)](Result<Response> result) mutable {
    Count(*workflow, context, result);
    done(std::move(result));
  };
  RunWorkflow(std::move(workflow), std::move(request), std::move(context), std::move(call),
              std::move(counted));
  return deadline;
}

}  // namespace serve
