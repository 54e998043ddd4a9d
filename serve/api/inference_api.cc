#include "serve/api/inference_api.h"

#include <utility>

namespace serve {

TimePoint InferenceApi::Predict(PredictCall call, UniqueFunction<void(Result<Prediction>)> done) {
  Result<ModelHandle> found = models_.Find(call.model, call.version);
  if (!found) {
    done(found.error());
    return call.context.deadline;
  }
  ModelVersion& version = **found;
  const TimePoint arrival = call.context.arrival;
  // The callback holds the lease, so the version outlives its answer.
  return version.Submit(
      std::move(call.request), std::move(call.context),
      [model = std::move(*found), arrival, done = std::move(done)](Result<ModelVersion::Computed> computed) mutable {
        if (!computed) {
          model.reset();
          done(computed.error());
          return;
        }
        done(Prediction{std::move(model), std::move(computed->output), computed->hint, arrival});
      });
}

Result<Response> InferenceApi::Render(Prediction prediction) {
  return prediction.model->Render(prediction.output, prediction.hint, prediction.arrival);
}

}  // namespace serve
