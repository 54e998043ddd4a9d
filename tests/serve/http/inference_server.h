#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "handlers/tensor/tensor_handler.h"
#include "serve/http/api_description.h"
#include "serve/http/routes.h"
#include "serve/model/loader.h"
#include "tests/handlers/text/text_model.h"
#include "tests/serve/http/http_server.h"
#include "tests/serve/model/fake_model.h"

namespace serve {

/// The inference, management and metrics APIs behind real listeners, with models that need no libtorch:
///   double  tensor handler, input x:float32:[2], answers its input twice as large
///   any     the same without a declaration
///   pair    inputs a:float32:[1] and b:int64:[], outputs sum:float32:[1] (a) and b:int64:[] (b)
///   news    text handler, labels World and Sports; a text with a word it knows is Sports, else World
/// `double` waits while Hold() is in force, so that requests meet in the queue.
class InferenceServer {
 public:
  explicit InferenceServer(const HttpLimits& limits = {}) : limits_(limits) {
    AddTensorModel("double", {"x:float32:[2]"}, {}, [this](const std::vector<Tensor>& inputs) {
      {
        std::unique_lock lock(mutex_);
        ++waiting_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !held_; });
        --waiting_;
        batches_.push_back(inputs[0].rows());
      }
      return Twice(inputs);
    });
    AddTensorModel("any", {}, {}, Twice);
    AddTensorModel("pair", {"a:float32:[1]", "b:int64:[]"}, {"sum:float32:[1]", "b:int64:[]"},
                   [](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
                     return RunOutputs{{inputs[0], inputs[1]}, {}};
                   });
    Add("news", SmallClassifier(folder_), [](const std::vector<Tensor>& inputs) -> Result<RunOutputs> {
      const std::int64_t texts = inputs[1].shape[0];
      Tensor answer = Tensor::Empty(DType::kFloat32, {texts, 2});
      for (std::int64_t i = 0; i < texts; ++i) {
        const std::int64_t begin = inputs[1].as<std::int64_t>()[i];
        const std::int64_t end = i + 1 < texts ? inputs[1].as<std::int64_t>()[i + 1] : inputs[0].elements();
        answer.as<float>()[2 * i] = end > begin ? 0.25F : 0.75F;
        answer.as<float>()[2 * i + 1] = end > begin ? 0.75F : 0.25F;
      }
      return RunOutputs{{answer}, {}};
    });
    inference = Open(WithDescription(InferenceRouter(api, limits_), "Flambeau inference API", api));
    management =
        Open(WithDescription(ManagementRouter(management_api, api, pool), "Flambeau management API", api));
    metrics_listener = Open(WithDescription(MetricsRouter(metrics), "Flambeau metrics API", api));
  }
  ~InferenceServer() {
    Release();
    inference.reset();
    management.reset();
    metrics_listener.reset();
    pool.join();
  }

  static RawClient::Reply Ask(const Listener& listener, const std::string& request, bool with_body = true) {
    RawClient client(listener.port());
    client.Send(request);
    return client.Read(with_body);
  }
  RawClient::Reply Infer(const std::string& request) const { return Ask(*inference, request); }
  RawClient::Reply Manage(const std::string& request) const { return Ask(*management, request); }

  /// From now on `double` computes nothing.
  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  /// Waits until a worker stands in `double`.
  void WaitForWorker() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [this] { return waiting_ > 0; });
  }
  void Release() {
    const std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  /// Rows of each batch that `double` computed.
  std::vector<std::int64_t> Batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

  void AddTensorModel(const std::string& name, const std::vector<std::string>& inputs,
                      const std::vector<std::string>& outputs, FakeRuntime::Function function) {
    HandlerArtifacts artifacts;
    for (const std::string& text : inputs) artifacts.inputs.push_back(ParseTensorSpec(text).value());
    for (const std::string& text : outputs) artifacts.outputs.push_back(ParseTensorSpec(text).value());
    Add(name, MakeTensorHandler(artifacts).value(), std::move(function));
  }
  void Add(const std::string& name, std::unique_ptr<Handler> handler, FakeRuntime::Function function,
           bool at_start = false) {
    VersionOptions options;
    options.scheduler.batch_size = 8;
    options.inline_limit = std::chrono::microseconds(0);
    VersionInfo info;
    info.name = name;
    info.version = "1.0";
    info.handler = "tensor";
    info.loaded_at_startup = at_start;
    auto version = std::make_shared<ModelVersion>(
        info, options, std::make_unique<FakeRuntime>(std::move(function)), std::move(handler),
        std::make_shared<ModelMetrics>(name, "1.0"), std::filesystem::path());
    version->Scale(1, 1, true);
    (void)models.Add(std::move(version));
  }
  static Result<RunOutputs> Twice(const std::vector<Tensor>& inputs) {
    Tensor answer = Tensor::Empty(inputs[0].dtype, inputs[0].shape);
    for (std::int64_t i = 0; i < answer.elements(); ++i) {
      if (answer.dtype == DType::kInt64) {
        answer.as<std::int64_t>()[i] = 2 * inputs[0].as<std::int64_t>()[i];
      } else {
        answer.as<float>()[i] = 2 * inputs[0].as<float>()[i];
      }
    }
    return RunOutputs{{answer}, {}};
  }

  std::unique_ptr<Listener> Open(Router router) {
    return std::move(
        *Listener::Open(io, "127.0.0.1", 0, "--test-address", std::move(router), limits_, metrics));
  }

 private:
  const HttpLimits limits_;
  TestFolder folder_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  int waiting_ = 0;
  std::vector<std::int64_t> batches_;

 public:
  Metrics metrics{false};
  ServedModels models;
  Loader loader{{}, metrics, {}, {}};
  InferenceApi api{models};
  ManagementApi management_api{models, loader, ManagementOptions()};
  WorkflowApi workflow_api{management_api, api, metrics, ManagementOptions(), {}, {}};
  TrafficApi traffic_api{models, management_api, TrafficOptions()};
  boost::asio::thread_pool pool{1};
  IoThreads io{2};
  std::unique_ptr<Listener> inference;
  std::unique_ptr<Listener> management;
  std::unique_ptr<Listener> metrics_listener;
};

}  // namespace serve
