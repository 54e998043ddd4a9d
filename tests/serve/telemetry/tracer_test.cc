#include "serve/telemetry/tracer.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace serve {
namespace {

const std::string kCaller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
const std::string kCloud = "105445aa7843bc8bf206b12000100000/1;o=1";

struct Collect final : SpanSink {
  void Take(std::vector<RequestSpan> block) override { blocks.push_back(std::move(block)); }
  std::vector<std::vector<RequestSpan>> blocks;
};

TEST(TracerTest, TheFirstValidHeaderCountsAndWithoutOneATraceBegins) {
  const Tracer tracer({});
  const TraceContext both = tracer.Begin(kCaller + "1", kCloud);
  EXPECT_EQ(both.trace(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(both.parent(), "00f067aa0ba902b7");
  EXPECT_NE(both.span(), both.parent());
  EXPECT_TRUE(both.sampled);
  EXPECT_FALSE(both.recorded) << "there is no sink";
  EXPECT_EQ(tracer.Begin("ff" + kCaller.substr(2) + "1", kCloud).trace(), "105445aa7843bc8bf206b12000100000");
  const TraceContext fresh = tracer.Begin("nonsense", "nonsense");
  EXPECT_NE(fresh.trace_id[0], '\0');
  EXPECT_EQ(fresh.parent(), "");
  EXPECT_NE(fresh.trace(), tracer.Begin("", "").trace());
}

TEST(TracerTest, TheSamplerDecides) {
  const struct {
    TraceSampling sampling;
    bool sampled_caller, other_caller, nobody;
  } cases[] = {
      {{TraceSampler::kAlwaysOn, 0}, true, true, true},
      {{TraceSampler::kAlwaysOff, 1}, false, false, false},
      {{TraceSampler::kRatio, 0}, false, false, false},
      {{TraceSampler::kRatio, 1}, true, true, true},
      {{TraceSampler::kParentAlwaysOn, 0}, true, false, true},
      {{TraceSampler::kParentAlwaysOff, 1}, true, false, false},
      {{TraceSampler::kParentRatio, 0}, true, false, false},
      {{TraceSampler::kParentRatio, 1}, true, false, true},
  };
  Collect sink;
  for (const auto& one : cases) {
    const Tracer tracer(one.sampling, &sink);
    const auto chosen = [&](const std::string& field) {
      const TraceContext context = tracer.Begin(field, "");
      EXPECT_EQ(context.sampled, context.recorded);
      return context.recorded;
    };
    const int name = static_cast<int>(one.sampling.sampler);
    EXPECT_EQ(chosen(kCaller + "1"), one.sampled_caller) << name;
    EXPECT_EQ(chosen(kCaller + "0"), one.other_caller) << name;
    EXPECT_EQ(chosen(""), one.nobody) << name;
  }
}

TEST(TracerTest, TheRatioIsDecidedByTheTraceId) {
  Collect sink;
  const Tracer tracer({TraceSampler::kRatio, 0.25}, &sink);
  const std::string begin = "00-00000000000000ff";
  const std::string end = "-00f067aa0ba902b7-00";
  EXPECT_TRUE(tracer.Begin(begin + "3fffffffffffffff" + end, "").recorded);
  EXPECT_FALSE(tracer.Begin(begin + "4000000000000000" + end, "").recorded);
  int chosen = 0;
  for (int i = 0; i < 10'000; ++i) chosen += tracer.Begin("", "").recorded ? 1 : 0;
  EXPECT_GT(chosen, 2'000);
  EXPECT_LT(chosen, 3'000);
}

TEST(TracerTest, SpansOfAThreadGoToTheSinkInBlocks) {
  Collect sink;
  const Tracer tracer({}, &sink);
  std::thread([&] {
    for (int i = 0; i < 130; ++i) tracer.Finish({});
    Tracer::Flush();
    Tracer::Flush();
  }).join();
  ASSERT_EQ(sink.blocks.size(), 3u);
  EXPECT_EQ(sink.blocks[0].size(), 64u);
  EXPECT_EQ(sink.blocks[2].size(), 2u);
}

}  // namespace
}  // namespace serve
