#include "serve/workflow/specification.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace serve {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kDiamond = R"(
models:
  min-workers: 1
  max-workers: 4
  batch-size: 3
  max-batch-delay: 50
  timeout-ms: 5000
  m1: {url: m1.mar, batch-size: 8, retry-attempts: 0}
  m2:
    url: m2.mar
    min-workers: 2
    timeout-ms: 7000
functions:
  pre: pass
  both: merge
dag:
  pre: [m1, m2]
  m1: [both]
  m2: both
)";

std::string ErrorOf(const std::string& yaml, const SpecificationLimits& limits = {}) {
  const Result<Specification> read = ParseSpecification(yaml, limits);
  return read ? "" : read.error().message;
}

TEST(SpecificationTest, NumbersOfAllModelsAndOfSingleOnes) {
  const Result<Specification> read = ParseSpecification(kDiamond);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->graph.size(), 4U);
  EXPECT_EQ(read->nodes[0].function, NodeFunction::kPass);
  EXPECT_EQ(read->nodes[1].url, "m1.mar");
  EXPECT_EQ(read->nodes[1].settings.batch_size, 8);
  EXPECT_EQ(read->nodes[1].settings.retry_attempts, 0);
  EXPECT_EQ(read->nodes[1].settings.max_workers, 4);
  EXPECT_EQ(read->nodes[2].settings.min_workers, 2);
  EXPECT_EQ(read->nodes[2].settings.max_batch_delay, milliseconds(50));
  EXPECT_EQ(read->nodes[3].function, NodeFunction::kMerge);
  EXPECT_EQ(DefaultTimeout(*read), milliseconds(7000));
}

TEST(SpecificationTest, DefaultsAreTorchServesButForTheDelay) {
  const auto read = ParseSpecification("models: {a: {url: a.mar}, b: {url: b.mar}}\ndag: {a: [b]}");
  ASSERT_TRUE(read) << read.error().message;
  const NodeSettings& settings = read->nodes[0].settings;
  EXPECT_EQ(settings.min_workers, 1);
  EXPECT_EQ(settings.max_workers, 1);
  EXPECT_EQ(settings.batch_size, 1);
  EXPECT_EQ(settings.max_batch_delay, milliseconds(0));
  EXPECT_EQ(settings.retry_attempts, 1);
  EXPECT_EQ(DefaultTimeout(*read), milliseconds(20'000));
}

TEST(SpecificationTest, AMinimumAloneRaisesTheMaximum) {
  const auto read = ParseSpecification("models: {min-workers: 3, a: {url: a.mar}}\ndag: {a: }");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->nodes[0].settings.max_workers, 3);
}

TEST(SpecificationTest, ErrorsNameTheNodeAndWhatIsAllowed) {
  const auto with = [](const std::string& model, const std::string& rest = "\ndag: {m: []}") {
    return ErrorOf("models: {m: " + model + "}" + rest);
  };
  EXPECT_THAT(with("{}"), AllOf(HasSubstr("model m"), HasSubstr("`url` is missing")));
  EXPECT_THAT(with("{url: [a]}"), HasSubstr("`url` is missing"));
  EXPECT_THAT(with("m.mar"), HasSubstr("model m: it must be a map"));
  EXPECT_THAT(with("{url: m.mar, batch-size: 0}"), HasSubstr("model m: batch-size must be a whole number"));
  EXPECT_THAT(with("{url: m.mar, batch-size: x}"), HasSubstr("batch-size"));
  EXPECT_THAT(with("{url: m.mar, batch-size: '4'}"), HasSubstr("batch-size"));
  EXPECT_THAT(with("{url: m.mar, timeout-ms: 99999999999}"), HasSubstr("timeout-ms"));
  EXPECT_THAT(with("{url: m.mar, batchSize: 4}"), HasSubstr("model m: unknown key batchSize; known: url"));
  EXPECT_THAT(with("{url: m.mar, min-workers: 3, max-workers: 2}"), HasSubstr("max-workers is 2"));
  EXPECT_THAT(ErrorOf("models: {'a/b': {url: m.mar}}\ndag: {'a/b': []}"), HasSubstr("a node's name"));
  EXPECT_THAT(ErrorOf("models: {m: {url: a}, m: {url: b}}\ndag: {m: []}"), HasSubstr("the key m twice"));
  EXPECT_THAT(ErrorOf("dag: {m: []}"), HasSubstr("`models` is missing"));
  EXPECT_THAT(ErrorOf("models: {m: {url: m.mar}}"), HasSubstr("`dag` is missing"));
  EXPECT_THAT(with("{url: m.mar}", "\ndag: {m: {a: b}}"), HasSubstr("dag: node m"));
  EXPECT_THAT(with("{url: m.mar}", "\ndag: [m]"), HasSubstr("`dag` must be a map"));
  EXPECT_THAT(ErrorOf("models: {m: {url: m.mar}, n: {url: n.mar}}\ndag: {m: []}"),
              HasSubstr("node n is not in the dag"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("must be a map"));
  EXPECT_THAT(ErrorOf("a: [b"), HasSubstr("no valid YAML"));
}

TEST(SpecificationTest, PythonFunctionsAreToldWhatThereIsInstead) {
  const std::string error = ErrorOf("models: {m: {url: m.mar}}\ndag: {preprocess: [m], m: [postprocess]}");
  EXPECT_THAT(error, AllOf(HasSubstr("postprocess, preprocess"), HasSubstr("pass, merge, best_label")));
  EXPECT_THAT(ErrorOf("models: {m: {url: m.mar}}\nfunctions: {f: my_python}\ndag: {m: [f]}"),
              HasSubstr("function f: it must be one of pass, merge, best_label"));
}

TEST(SpecificationTest, FunctionsStandWhereTheyMakeSense) {
  EXPECT_THAT(ErrorOf("models: {m: {url: m.mar}}\nfunctions: {f: merge}\ndag: {f: [m]}"),
              HasSubstr("cannot be the start"));
  EXPECT_THAT(ErrorOf("models: {a: {url: a.mar}, b: {url: b.mar}}\nfunctions: {p: pass, f: best_label}\n"
                      "dag: {p: [a, b], a: [f], b: [f]}"),
              HasSubstr("best_label follows one node, not 2"));
  EXPECT_THAT(ErrorOf("models: {m: {url: m.mar}}\nfunctions: {m: pass}\ndag: {m: []}"),
              HasSubstr("a model and a function"));
}

TEST(SpecificationTest, GraphErrorsHaveACodeOfTheirOwn) {
  const auto read = ParseSpecification("models: {a: {url: a.mar}}\ndag: {a: [a]}");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kInvalidWorkflow);
  EXPECT_THAT(read.error().message, HasSubstr("Self loop exception"));
}

TEST(SpecificationTest, HostileFilesAreRefused) {
  EXPECT_THAT(ErrorOf(std::string(300'000, ' ')), HasSubstr("allowed are 262144"));
  // Each line stands for nine times the one before.
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 8; ++j) bomb += "," + before;
    bomb += "]\n";
  }
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("anchors and aliases"));
  EXPECT_THAT(ErrorOf("models: " + std::string(200'000, '[')), HasSubstr("nested deeper than 8 levels"));
  EXPECT_THAT(ErrorOf("models: " + std::string(200'000, '{')), HasSubstr("nested deeper than 8 levels"));
  EXPECT_THAT(ErrorOf(std::string(500, 'k') + ": 1"), HasSubstr("a key of 500 bytes"));
  std::string many = "models:\n";
  for (int i = 0; i < 10'000; ++i) many += "  n" + std::to_string(i) + ": {url: a}\n";
  EXPECT_THAT(ErrorOf(many + "dag: {n0: []}\n"), HasSubstr("more than 70 entries"));
  std::string dag = "models: {m: {url: a}}\ndag:\n";
  for (int i = 0; i < 10'000; ++i) dag += "  n" + std::to_string(i) + ": [m]\n";
  EXPECT_THAT(ErrorOf(dag), HasSubstr("more than 64 entries"));
  for (const char* bytes :
       {"\xff\xfe", "models: !!binary x", "? ? ?", "--- |\n", "%YAML 9.9\n---\n", "- -"}) {
    EXPECT_NE(ErrorOf(bytes), "") << bytes;
  }
  EXPECT_NE(ErrorOf(std::string("models: \0", 9)), "");
}

}  // namespace
}  // namespace serve
