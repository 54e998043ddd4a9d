#include "serve/api/inference_api.h"

#include <utility>

namespace serve {

InferenceApi::Accepted InferenceApi::Predict(PredictCall call,
                                             UniqueFunction<void(Result<Prediction>)> done) {
  Result<ModelHandle> found = models_.Find(call.model, call.version);
  if (!found) {
    // While the start's models are loading, "not found" would be final where "not yet" is true.
    done(models_.Starting() && found.error().code == Code::kModelNotFound
             ? Status{Code::kUnavailable,
                      found.error().message +
                          " (models are still loading: try again, GET /ping tells when they are)"}
             : found.error());
    return {call.context.deadline, nullptr};
  }
  const ModelHandle version = std::move(*found);
  const TimePoint arrival = call.context.arrival;
  // The callback holds a lease, so the version outlives its answer.
  const ModelVersion::Submitted submitted = version->Submit(
      std::move(call.request), std::move(call.context),
      [model = version, arrival, done = std::move(done)](Result<ModelVersion::Computed> computed) mutable {
        if (!computed) {
          model.reset();
          done(computed.error());
          return;
        }
        done(Prediction{std::move(model), std::move(computed->output), computed->hint, arrival});
      });
  return {submitted.deadline, submitted.run_here ? version : nullptr};
}

Result<Response> InferenceApi::Render(Prediction prediction) {
  return prediction.model->Render(prediction.output, prediction.hint, prediction.arrival);
}

}  // namespace serve
