#pragma once

#include <charconv>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "serve/model/model_version.h"
#include "serve/runtime/fake/fake_runtime.h"

namespace serve::testing_model {

/// A handler for tests: the body is a whole number, which is the sample's only value and the answer's text.
class NumberHandler final : public Handler {
 public:
  Result<Sample> Prepare(Request request) const override {
    const RequestPart* input = request.Input();
    float value = 0;
    if (input == nullptr ||
        std::from_chars(input->value.data(), input->value.data() + input->value.size(), value).ec !=
            std::errc()) {
      return InvalidArgument("expected a number");
    }
    Sample sample;
    sample.inputs.push_back(Tensor::Empty(DType::kFloat32, {1, 1}));
    *sample.inputs[0].as<float>() = value;
    return sample;
  }
  Result<Response> Render(const Output& output, const RenderHint&) const override {
    return Response{std::to_string(static_cast<int>(*output.tensors[0].as<float>()))};
  }
  Result<Sample> SyntheticSample() const override { return InvalidArgument("none"); }
};

inline Request NumberRequest(const std::string& text) {
  Request request;
  request.body = Buffer(text);
  request.parts.push_back({"body", request.body.view(), ""});
  request.body_is_part = true;
  return request;
}

inline std::shared_ptr<ModelVersion> MakeVersion(FakeRuntime::Function function, VersionOptions options = {},
                                                 const std::string& name = "m",
                                                 const std::string& version = "1.0") {
  VersionInfo info;
  info.name = name;
  info.version = version;
  info.url = name + ".mar";
  return std::make_shared<ModelVersion>(
      info, options, std::make_unique<FakeRuntime>(std::move(function)), std::make_unique<NumberHandler>(),
      std::make_shared<ModelMetrics>(name, version), std::filesystem::path());
}

/// Submits and gives a future of the answer; runs what the version leaves to its caller.
inline std::future<Result<ModelVersion::Computed>> Ask(ModelVersion& version, const std::string& body,
                                                       RequestContext context = {}) {
  auto promise = std::make_shared<std::promise<Result<ModelVersion::Computed>>>();
  auto future = promise->get_future();
  const auto submitted = version.Submit(
      NumberRequest(body), std::move(context),
      [promise](Result<ModelVersion::Computed> result) { promise->set_value(std::move(result)); });
  while (submitted.run_here && version.RunBorrowed()) {
  }
  return future;
}

inline int Value(const Result<ModelVersion::Computed>& result) {
  return static_cast<int>(*result->output.tensors[0].as<float>());
}

}  // namespace serve::testing_model
