#include <benchmark/benchmark.h>
#include <memory>
#include <vector>

#include "serve/telemetry/metrics.h"

namespace serve {
namespace {

/// What one successful prediction records.
void ObservePrediction(benchmark::State& state) {
  static ModelMetrics metrics("m", "1.0");
  double seconds = 0.0001;
  for (auto _ : state) {
    metrics.requests.Add();
    metrics.succeeded.Add();
    metrics.latency_nanos.Add(100'000);
    metrics.queue_nanos.Add(10'000);
    metrics.in_flight.Add(1);
    metrics.total.Observe(seconds);
    metrics.queue.Observe(seconds / 10);
    metrics.prepare.Observe(seconds / 20);
    metrics.render.Observe(seconds / 20);
    metrics.in_flight.Add(-1);
    seconds = seconds > 1 ? 0.0001 : seconds * 1.1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ObservePrediction)->Threads(1)->Threads(2)->UseRealTime();

/// The text of a scrape with n models.
void Scrape(benchmark::State& state) {
  Metrics metrics(true);
  std::vector<std::shared_ptr<ModelMetrics>> models;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    models.push_back(metrics.ForModel("model" + std::to_string(i), "1.0"));
  }
  for (auto _ : state) benchmark::DoNotOptimize(metrics.Text({}));
}
BENCHMARK(Scrape)->Arg(1)->Arg(100)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace serve
