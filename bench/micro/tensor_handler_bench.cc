#include <benchmark/benchmark.h>

#include "handlers/handler.h"

namespace serve {
namespace {

std::unique_ptr<Handler> HandlerFor(std::vector<std::int64_t> shape) {
  HandlerArtifacts artifacts;
  artifacts.inputs = {{"x", DType::kFloat32, std::move(shape)}};
  return std::move(MakeHandler("tensor", artifacts).value());
}

Request RawRequest(std::string_view body, std::string_view content_type) {
  Request request;
  request.body = Buffer(body);
  request.parts.push_back({"body", request.body.view(), content_type});
  request.body_is_part = true;
  return request;
}

std::string NumbersAsJson(std::int64_t count) {
  std::string body = "[";
  for (std::int64_t i = 0; i < count; ++i)
    body += (i > 0 ? ",0." : "0.") + std::to_string(100'000 + i * 7919 % 900'000);
  return body + "]";
}

/// JSON body of n numbers → sample; the request itself (one copy of the body) is made outside the clock.
void PrepareJson(benchmark::State& state) {
  const std::int64_t count = state.range(0);
  const auto handler = HandlerFor({count});
  const std::string body = NumbersAsJson(count);
  std::vector<Request> requests;
  for (auto _ : state) {
    if (requests.empty()) {
      state.PauseTiming();
      for (int i = 0; i < 256; ++i) requests.push_back(RawRequest(body, "application/json"));
      state.ResumeTiming();
    }
    auto sample = handler->Prepare(std::move(requests.back()));
    requests.pop_back();
    benchmark::DoNotOptimize(sample);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(PrepareJson)->Arg(4)->Arg(64)->Arg(4096);

/// Four class scores as JSON: the answer of a small model.
void RenderJson(benchmark::State& state) {
  const std::int64_t count = state.range(0);
  const auto handler = HandlerFor({1});
  Output output;
  output.tensors.push_back(Tensor::Empty(DType::kFloat32, {1, count}));
  for (std::int64_t i = 0; i < count; ++i) {
    output.tensors[0].as<float>()[i] = 1.0F / (3.0F + static_cast<float>(i));
  }
  for (auto _ : state) {
    auto response = handler->Render(output, RenderHint{});
    benchmark::DoNotOptimize(response);
  }
}
BENCHMARK(RenderJson)->Arg(4)->Arg(64)->Arg(4096);

/// Joins n samples of 64 floats.
void Collate(benchmark::State& state) {
  const auto handler = HandlerFor({64});
  const std::string body = NumbersAsJson(64);
  std::vector<Sample> samples;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    samples.push_back(std::move(handler->Prepare(RawRequest(body, "application/json")).value()));
  }
  std::vector<const Sample*> batch;
  for (const Sample& sample : samples) batch.push_back(&sample);
  for (auto _ : state) {
    auto inputs = handler->Collate(batch);
    benchmark::DoNotOptimize(inputs);
  }
}
BENCHMARK(Collate)->Arg(1)->Arg(8)->Arg(32);

}  // namespace
}  // namespace serve
