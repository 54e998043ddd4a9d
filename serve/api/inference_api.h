#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/api/options.h"
#include "serve/api/shadow.h"
#include "serve/base/status.h"
#include "serve/base/unique_function.h"
#include "serve/model/served_models.h"
#include "serve/request/request.h"

namespace serve {

/// One call of the predictions API, before any model has seen it.
struct PredictCall {
  std::string_view model;    // both only need to live until Predict returns
  std::string_view version;  // empty: the default version, or what the traffic plan says
  Request request;
  RequestContext context;
  HeaderOf header{};  // of the client's request, for a plan with a sticky header; likewise
};

/// What a model computed, with the lease that keeps the model alive until it is rendered.
struct Prediction {
  ModelHandle model;
  Output output;
  RenderHint hint;
  TimePoint arrival;
};

/// The inference use cases, without a protocol. Every method from any thread; none blocks.
class InferenceApi {
 public:
  /// `models` is borrowed from the application and outlives this.
  explicit InferenceApi(ServedModels& models, SequenceNames names = {}, TrafficOptions traffic = {})
      : models_(models), sequence_names_(std::move(names)), shadow_(std::move(traffic)) {}

  /// Finds the version, prepares the request and queues it. `done` is called exactly once: on this thread
  /// before Predict returns when the request is refused (unknown model, bad input, full queue), else later on
  /// any thread.
  struct Accepted {
    TimePoint deadline = TimePoint::max();  // by which the answer is owed
    ModelHandle
        run_here;  // set: the caller calls RunBorrowed() on it once it has read what is there; no worker will
  };
  Accepted Predict(PredictCall call, UniqueFunction<void(Result<Prediction>)> done);
  /// Turns what the model computed into bytes. Called on the I/O thread; records latency.
  Result<Response> Render(Prediction prediction);

  /// A lease on the version (empty: the default one), with the errors of Predict.
  Result<ModelHandle> Find(std::string_view model, std::string_view version) const;
  /// What a client may know of a model before it asks.
  struct Metadata {
    std::string name;
    std::vector<std::string> versions;  // ascending
    std::string platform;               // `pytorch_torchscript`
    std::vector<InferSpec> inputs;      // of that version
    std::vector<InferSpec> outputs;
  };
  Result<Metadata> Describe(std::string_view model, std::string_view version) const;
  /// Sorted.
  [[nodiscard]] std::vector<std::string> ModelNames() const;
  /// The one model that was loaded at start; empty: none, or several.
  [[nodiscard]] std::string OnlyModel() const;

  [[nodiscard]] const SequenceNames& sequence_names() const { return sequence_names_; }
  /// Whether the models of the start are still loading: what is not found may come yet.
  [[nodiscard]] bool Starting() const { return models_.Starting(); }
  /// False while a model is loading at start-up, a version has fewer live workers than min_worker, or the
  /// server is shutting down; `why` says which.
  bool Ready(std::string* why) const { return models_.Ready(why); }
  /// No more copies of requests for shadow versions: before the versions are closed.
  void StopShadow() { shadow_.Stop(); }

 private:
  /// While the start's models are loading, "not found" would be final where "not yet" is true.
  [[nodiscard]] Status NotYet(Status status) const;
  [[nodiscard]] Result<ServedModels::Chosen> FindDefault(const PredictCall& call) const;

  ServedModels& models_;
  const SequenceNames sequence_names_;
  Shadow shadow_;
};

}  // namespace serve
