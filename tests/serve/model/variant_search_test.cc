#include "serve/model/variant_search.h"

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::microseconds;
using ::testing::HasSubstr;

/// Time passes only while a model runs: no other work of the machine can decide who is fastest.
std::atomic<std::int64_t> clock_ns{0};
TimePoint Now() { return TimePoint(std::chrono::nanoseconds(clock_ns.load())); }

/// How a variant of the model "twice its input" behaves.
struct Behaviour {
  microseconds per_row{300};
  float factor = 2;
  bool throws = false;
  bool lower_precision = false;
  bool specialized = false;
};

class TwiceRuntime final : public Runtime {
 public:
  TwiceRuntime(Behaviour behaviour, std::map<std::string, Behaviour> variants = {})
      : behaviour_(behaviour), variants_(std::move(variants)) {}

  Result<RunOutputs> Run(const std::vector<Tensor>& inputs) override {
    if (behaviour_.throws) return Status{Code::kPredictionFailed, "this operator is not implemented"};
    clock_ns += std::chrono::nanoseconds(behaviour_.per_row).count() * inputs[0].rows();
    Tensor output = Tensor::Empty(DType::kFloat32, inputs[0].shape);
    for (std::int64_t i = 0; i < output.elements(); ++i)
      output.as<float>()[i] = behaviour_.factor * inputs[0].as<float>()[i];
    RunOutputs outputs;
    outputs.tensors.push_back(std::move(output));
    return outputs;
  }
  std::vector<std::string> Variants(Precision precision) const override {
    std::vector<std::string> names;
    for (const auto& [name, behaviour] : variants_) {
      if (!behaviour.lower_precision || precision != Precision::kFloat32) names.push_back(name);
    }
    return names;
  }
  Result<std::shared_ptr<Runtime>> MakeVariant(const std::string& name) const override {
    return std::shared_ptr<Runtime>(std::make_shared<TwiceRuntime>(variants_.at(name)));
  }
  Status Specialize(const std::vector<Tensor>& inputs) override {
    specialized_.push_back(inputs[0].rows());
    return {};
  }
  bool WantsSpecializedShapes() const override { return behaviour_.specialized; }
  bool LowerPrecision() const override { return behaviour_.lower_precision; }
  [[nodiscard]] const std::vector<std::int64_t>& specialized() const { return specialized_; }

 private:
  const Behaviour behaviour_;
  const std::map<std::string, Behaviour> variants_;
  std::vector<std::int64_t> specialized_;
};

std::vector<SizedBatch> Batches() {
  std::vector<SizedBatch> batches;
  for (const std::int64_t rows : {1, 2, 4}) {
    Tensor input = Tensor::Empty(DType::kFloat32, {rows, 1});
    for (std::int64_t i = 0; i < rows; ++i) input.as<float>()[i] = 1.5F;
    batches.push_back({rows, {input}});
  }
  return batches;
}

SearchResult Search(std::map<std::string, Behaviour> variants, Precision precision = Precision::kFloat32,
                    SearchOptions options = {}) {
  const auto plain = std::make_shared<TwiceRuntime>(Behaviour{}, std::move(variants));
  options.precision = precision;
  options.now = Now;
  Result<SearchResult> result = SearchVariants(plain, Batches(), options);
  EXPECT_TRUE(result.has_value());
  return *result;
}

const Trial& TrialOf(const SearchResult& result, const std::string& name) {
  for (const Trial& trial : result.trials) {
    if (trial.variant == name) return trial;
  }
  ADD_FAILURE() << "no trial of " << name;
  return result.trials.front();
}

TEST(VariantSearchTest, TheFastestVariantIsTakenAndReadyForEverySize) {
  const SearchResult result = Search({{"a", {.per_row = microseconds(200)}},
                                      {"b", {.per_row = microseconds(50), .specialized = true}},
                                      {"c", {.per_row = microseconds(600)}}});
  EXPECT_EQ(result.variant, "b");
  EXPECT_THAT(dynamic_cast<TwiceRuntime&>(*result.runtime).specialized(),
              ::testing::UnorderedElementsAre(1, 2, 4));
  ASSERT_EQ(result.times.size(), 3U);
  EXPECT_EQ(result.times[2].first, 4);
  EXPECT_EQ(result.trials.size(), 4U);
}

TEST(VariantSearchTest, TheSimplerOneStaysWhenAnotherIsHardlyFaster) {
  EXPECT_EQ(Search({{"a", {.per_row = microseconds(298)}}}).variant, "plain");
}

TEST(VariantSearchTest, AVariantThatFailsIsRefusedWithItsReason) {
  const SearchResult result = Search({{"a", {.per_row = microseconds(10), .throws = true}}});
  EXPECT_EQ(result.variant, "plain");
  EXPECT_THAT(TrialOf(result, "a").refused, HasSubstr("not implemented"));
}

TEST(VariantSearchTest, AVariantThatIsKnownToBeBadIsNotTried) {
  std::vector<std::string> tried;
  SearchOptions options;
  options.refused = {{"a", "it crashed"}};
  options.trying = [&](const std::string& variant) { tried.push_back(variant); };
  const SearchResult result =
      Search({{"a", {.per_row = microseconds(10)}}, {"b", {.per_row = microseconds(50)}}},
             Precision::kFloat32, options);
  EXPECT_EQ(result.variant, "b");
  EXPECT_EQ(TrialOf(result, "a").refused, "it crashed");
  EXPECT_THAT(tried, ::testing::AllOf(::testing::Contains("plain"), ::testing::Contains("b"),
                                      ::testing::Not(::testing::Contains("a"))));
}

TEST(VariantSearchTest, AChoiceAloneIsNotMadeReady) {
  SearchOptions options;
  options.only_choose = true;
  const SearchResult result =
      Search({{"a", {.per_row = microseconds(50), .specialized = true}}}, Precision::kFloat32, options);
  EXPECT_EQ(result.variant, "a");
  EXPECT_TRUE(result.times.empty());
  EXPECT_THAT(dynamic_cast<TwiceRuntime&>(*result.runtime).specialized(), ::testing::ElementsAre(1, 4));
}

TEST(VariantSearchTest, AVariantThatAnswersOtherwiseIsRefusedHoweverFast) {
  const SearchResult result = Search({{"a", {.per_row = microseconds(10), .factor = 2.01F}}});
  EXPECT_EQ(result.variant, "plain");
  EXPECT_THAT(TrialOf(result, "a").refused, HasSubstr("differ"));
}

TEST(VariantSearchTest, LowerPrecisionIsTriedOnlyWhereItIsAllowedAndMayDifferMore) {
  const std::map<std::string, Behaviour> variants = {
      {"bf16", {.per_row = microseconds(10), .factor = 2.01F, .lower_precision = true}}};
  EXPECT_EQ(Search(variants).variant, "plain");
  EXPECT_EQ(Search(variants, Precision::kAuto).variant, "bf16");
}

TEST(VariantSearchTest, AnOperatorWhoWantsBfloat16GetsItEvenWhereItIsSlower) {
  const std::map<std::string, Behaviour> variants = {
      {"bf16", {.per_row = microseconds(600), .lower_precision = true}}};
  EXPECT_EQ(Search(variants, Precision::kAuto).variant, "plain");
  EXPECT_EQ(Search(variants, Precision::kBFloat16).variant, "bf16");
}

TEST(VariantSearchTest, AModelThatFailsAsItWasSavedIsAnError) {
  const auto plain = std::make_shared<TwiceRuntime>(Behaviour{.throws = true});
  const Result<SearchResult> result = SearchVariants(plain, Batches(), {});
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("not implemented"));
}

TEST(VariantSearchTest, AStopEndsIt) {
  const auto plain = std::make_shared<TwiceRuntime>(Behaviour{}, std::map<std::string, Behaviour>{{"a", {}}});
  SearchOptions options;
  options.stop = [] { return true; };
  const Result<SearchResult> result = SearchVariants(plain, Batches(), options);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Code::kUnavailable);
}

TEST(VariantSearchTest, AnEarlierChoiceIsMadeReadyWithoutARace) {
  const auto plain = std::make_shared<TwiceRuntime>(
      Behaviour{}, std::map<std::string, Behaviour>{{"a", {.per_row = microseconds(900)}}});
  const Result<SearchResult> result = MakeReady(plain, "a", 1, Batches(), [] { return false; });
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->variant, "a");
  EXPECT_EQ(result->times.size(), 3U);
  EXPECT_TRUE(result->trials.empty());
}

}  // namespace
}  // namespace serve
