#include "serve/api/inference_api.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace serve {
namespace {

constexpr int kLoadingRetrySeconds = 2;

/// Whether the body may name a sequence: it is read by the handler of a version, so after the choice. A text
/// that only looks like the parameter goes to the default version, which is no harm.
bool MayNameSequence(const Request& request) {
  if (request.protocol != Protocol::kKServeV2) return false;
  const std::string_view body = request.body.view();
  return body.substr(0, request.json_bytes.value_or(body.size())).find("\"sequence_id\"") !=
         std::string_view::npos;
}

}  // namespace

Result<ModelHandle> InferenceApi::Find(std::string_view model, std::string_view version) const {
  Result<ModelHandle> found = models_.Find(model, version);
  if (!found) return NotYet(found.error());
  return found;
}

Status InferenceApi::NotYet(Status status) const {
  if (!models_.Starting() || status.code != Code::kModelNotFound) return status;
  return {Code::kUnavailable,
          status.message + " (models are still loading: try again, GET /ping tells when they are)",
          kLoadingRetrySeconds};
}

Result<ServedModels::Chosen> InferenceApi::FindDefault(const PredictCall& call) const {
  Result<ModelHandle> handle = models_.Find(call.model, call.version);
  if (!handle) return handle.error();
  return ServedModels::Chosen{std::move(*handle)};
}

InferenceApi::Accepted InferenceApi::Predict(PredictCall call,
                                             UniqueFunction<void(Result<Prediction>)> done) {
  // The state of a sequence is kept by one version.
  Result<ServedModels::Chosen> found =
      call.context.sequence ? FindDefault(call) : models_.Choose(call.model, call.version, call.header);
  if (found && found->by_share && MayNameSequence(call.request)) found = FindDefault(call);
  if (!found) {
    done(NotYet(found.error()));
    return {call.context.deadline, nullptr};
  }
  const ModelHandle version = std::move(found->version);
  Shadow::CopyHandle copy;
  if (found->shadow) copy = shadow_.Take(call.request, std::move(found->shadow), found->shadow_tolerance);
  const TimePoint arrival = call.context.arrival;
  // The callback holds a lease, so the version outlives its answer.
  const ModelVersion::Submitted submitted = version->Submit(
      std::move(call.request), std::move(call.context),
      [this, model = version, arrival, copy = std::move(copy),
       done = std::move(done)](Result<ModelVersion::Computed> computed) mutable {
        if (!computed) {
          model.reset();
          done(computed.error());
          return;
        }
        if (copy) shadow_.Send(std::move(copy), model, computed->output, computed->hint);
        done(Prediction{std::move(model), std::move(computed->output), computed->hint, arrival});
      });
  return {submitted.deadline, submitted.run_here ? version : nullptr};
}

Result<Response> InferenceApi::Render(Prediction prediction) {
  return prediction.model->Render(prediction.output, prediction.hint, prediction.arrival);
}

Result<InferenceApi::Metadata> InferenceApi::Describe(std::string_view model,
                                                      std::string_view version) const {
  const Result<ModelHandle> found = Find(model, version);
  if (!found) return found.error();
  const VersionInfo& info = (*found)->info();
  Metadata metadata;
  metadata.name = info.name;
  if (const auto entry = models_.Get(info.name); entry) {
    for (const ModelHandle& handle : entry->versions) metadata.versions.push_back(handle->info().version);
  }
  metadata.platform = "pytorch_" + info.runtime;
  metadata.inputs = (*found)->handler().InferInputs();
  metadata.outputs = (*found)->handler().InferOutputs();
  return metadata;
}

std::vector<std::string> InferenceApi::ModelNames() const {
  std::vector<std::string> names;
  for (const ServedModels::Entry& entry : models_.List()) names.push_back(entry.name);
  return names;
}

std::string InferenceApi::OnlyModel() const {
  std::string only;
  for (const ServedModels::Entry& entry : models_.List()) {
    const bool at_start =
        std::any_of(entry.versions.begin(), entry.versions.end(),
                    [](const ModelHandle& handle) { return handle->info().loaded_at_startup; });
    if (!at_start) continue;
    if (!only.empty()) return {};
    only = entry.name;
  }
  return only;
}

}  // namespace serve
