#include "serve/model/decode_stage.h"

#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/serve/model/fake_model.h"

namespace serve {
namespace {

using testing_model::NumberHandler;
using testing_model::NumberRequest;

/// Decodes a number to its negative; 13 cannot be decoded, and 14 throws.
class DecodingHandler final : public Handler {
 public:
  Result<Sample> Prepare(Request request) const override { return numbers_.Prepare(std::move(request)); }
  [[nodiscard]] bool Decodes() const override { return true; }
  Status Decode(Sample& sample) const override {
    float& value = *sample.inputs[0].as<float>();
    if (value == 13) return InvalidArgument("13 is no picture");
    if (value == 14) throw std::runtime_error("14 is worse");
    value = -value;
    decoded_on = std::this_thread::get_id();
    return {};
  }
  Result<Response> Render(const Output& output, const RenderHint& hint) const override {
    return numbers_.Render(output, hint);
  }
  Result<Sample> SyntheticSample() const override { return InvalidArgument("none"); }

  mutable std::thread::id decoded_on;

 private:
  const NumberHandler numbers_;
};

TEST(DecodeStageTest, WhatCannotBeDecodedIsAnsweredAndLeavesTheBatch) {
  const DecodingHandler handler;
  ModelMetrics metrics("m", "1.0");
  Batch batch;
  std::vector<std::string> answers(4, "in the batch");
  for (int i = 0; i < 4; ++i) {
    Sample sample = *handler.Prepare(NumberRequest(std::to_string(11 + i)));
    batch.items.push_back(Waiting{std::move(sample),
                                  {},
                                  Responder([&answers, i](Result<Output> output) {
                                    answers[static_cast<std::size_t>(i)] = output.error().message;
                                  }),
                                  SteadyClock::now()});
    ++batch.rows;
  }
  DecodeSamples(handler, batch, metrics);
  EXPECT_THAT(answers, testing::ElementsAre("in the batch", "in the batch", "13 is no picture",
                                            "Prediction failed: 14 is worse"));
  ASSERT_EQ(batch.items.size(), 2U);
  EXPECT_EQ(batch.rows, 2);
  EXPECT_EQ(*batch.items[0].sample.inputs[0].as<float>(), -11);
  EXPECT_EQ(*batch.items[1].sample.inputs[0].as<float>(), -12);
  for (Waiting& item : batch.items) std::move(item.responder).Send(InvalidArgument("done"));
}

TEST(DecodeStageTest, AVersionThatDecodesRunsOnItsWorkersOnly) {
  auto handler = std::make_unique<DecodingHandler>();
  const DecodingHandler& decoding = *handler;
  VersionInfo info;
  info.name = "m";
  ModelVersion version(info, {}, std::make_unique<FakeRuntime>(FakeRuntime::Echo), std::move(handler),
                       std::make_shared<ModelMetrics>("m", "1.0"), {});
  const Sample sample = *version.handler().Prepare(NumberRequest("1"));
  ASSERT_TRUE(version.Check(sample));  // so quick that it would run on this thread
  version.Scale(1, 1, true);
  for (const std::string body : {"5", "13", "6"}) {
    std::promise<Result<ModelVersion::Computed>> promise;
    auto future = promise.get_future();
    const auto submitted =
        version.Submit(NumberRequest(body), {},
                       [&](Result<ModelVersion::Computed> result) { promise.set_value(std::move(result)); });
    EXPECT_FALSE(submitted.run_here);
    const auto result = future.get();
    if (body == "13") {
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, Code::kInvalidArgument);
    } else {
      ASSERT_TRUE(result) << result.error().message;
      EXPECT_EQ(testing_model::Value(result), -std::stoi(body));
    }
  }
  EXPECT_TRUE(version.Close(TimePoint::max()));
  EXPECT_NE(decoding.decoded_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace serve
